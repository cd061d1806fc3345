/** The main job, as `npm run demo` runs it: real processes, four protocols, a real chain, a real kill. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { KITH } from '../kits/lab.ts'

interface Summary {
  readonly fileId: string
  readonly sha256Matches: boolean
  readonly bytes: number
  readonly ms: number
  readonly sources: readonly {
    readonly peer: string
    readonly protocol: string
    readonly chunks: number
    readonly bytes: number
    readonly paidWei: string
  }[]
  readonly killed: string
  readonly settlement: { readonly tx: string; readonly payees: number; readonly totalWei: string; readonly gasUsed: string }
  readonly balancesMatch: boolean
}

test('the demo finds, fetches, survives a kill, verifies and pays; and leaves nothing behind', { timeout: 120_000 }, async t => {
  const temporary = mkdtempSync(join(tmpdir(), 'kith-demo-test-'))
  t.after(() => rmSync(temporary, { recursive: true, force: true }))
  const folders = (): string[] => readdirSync(temporary).filter(f => f.startsWith('kith-demo-'))
  const before = folders()
  const env = { ...process.env, TMPDIR: temporary }
  const child = spawn(process.execPath, [KITH, 'demo', '--size', '64MiB', '--json'], { stdio: ['ignore', 'pipe', 'pipe'], env })
  let [out, err] = ['', '']
  child.stdout.on('data', (d: Buffer) => {
    out += d.toString()
  })
  child.stderr.on('data', (d: Buffer) => {
    err += d.toString()
  })
  const code = await new Promise<number | null>(resolve => child.on('close', resolve))
  assert.equal(code, 0, err)
  const s = JSON.parse(out.trim().split('\n').at(-1)!) as Summary
  assert.ok(s.sha256Matches && s.balancesMatch)
  assert.equal(s.bytes, 64 * 1024 * 1024)
  assert.match(s.fileId, /^[0-9a-f]{64}$/)
  assert.match(s.settlement.tx, /^0x[0-9a-f]{64}$/)
  assert.equal(s.settlement.payees, 2, 'both paid seeders, the killed one too')
  assert.equal(
    s.sources.reduce((n, x) => n + x.bytes, 0),
    s.bytes,
    'every byte has a source'
  )
  assert.equal(
    s.sources.reduce((n, x) => n + BigInt(x.paidWei), 0n),
    BigInt(s.settlement.totalWei)
  )
  const protocolsOf = (some: Summary['sources']): number => new Set(some.map(x => x.protocol)).size
  assert.equal(protocolsOf(s.sources), 4, 'four protocols delivered')
  assert.equal(protocolsOf(s.sources.filter(x => x.paidWei !== '0')), 2, 'two of them for money')
  assert.ok(
    s.sources.some(x => x.peer === s.killed && x.bytes > 0),
    'the killed seeder had delivered'
  )
  assert.ok(s.sources.every(x => x.chunks > 0))
  assert.deepEqual(folders(), before)
})
