/**
 * Preloaded into a node (`node --import`): its wall clock is wrong by as many milliseconds as the file KITH_TEST_CLOCK says, from the next
 * SIGUSR2 on what the file says then. The monotonic clock stays as it is, as on a real machine.
 */
import { readFileSync } from 'node:fs'

const path = process.env['KITH_TEST_CLOCK'] ?? ''
const real = Date.now.bind(Date)
const read = (): number => Number(readFileSync(path, 'utf8'))
let offset = read()
Date.now = () => real() + offset
process.on('SIGUSR2', () => {
  offset = read()
  process.stderr.write(`clock ${offset}\n`)
})
