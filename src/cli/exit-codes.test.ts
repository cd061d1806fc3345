import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { exitCodeOf, exitCodes } from './exit-codes.ts'

const root = join(import.meta.dirname, '../..')

test('every code of every folder has an exit code, and those a script asks about have the right one', () => {
  const codes = globSync('src/**/errors.ts', { cwd: root }).flatMap(f =>
    [...readFileSync(join(root, f), 'utf8').matchAll(/^ {2}([A-Z0-9_]+):/gm)].map(m => m[1]!)
  )
  assert.ok(codes.length > 60, `${codes.length} codes`)
  const known = new Set<number>(Object.values(exitCodes))
  for (const code of codes) assert.ok(known.has(exitCodeOf(code)), code)
  const wanted: Record<string, number> = {
    USAGE: 2,
    BAD_LINK: 2,
    BAD_PRICE: 2,
    BAD_PHRASE: 2,
    BAD_RATE: 2,
    UNKNOWN_PROTOCOL: 2,
    PROXY_INVALID: 2,
    WRONG_KEY: 2,
    FILE_NOT_FOUND: 3,
    NO_SOURCES: 3,
    UNKNOWN_SHARE: 3,
    OVER_BUDGET: 4,
    LOW_FUNDS: 4,
    PAYMENTS_OFF: 4,
    PAYMENT_REQUIRED: 4,
    PAYMENT_FAILED: 4,
    WALLET_EXISTS: 4,
    HASH_MISMATCH: 5,
    INVALID_PROOF: 5,
    DISK_FULL: 6,
    STORE_CORRUPT: 6,
    KEY_FILE_MODE: 6,
    IDENTITY_DAMAGED: 6,
    BAD_KEYSTORE: 6,
    PATH_FORBIDDEN: 6,
    PEER_UNREACHABLE: 7,
    PEER_TIMEOUT: 7,
    NODE_UNREACHABLE: 7,
    RPC_ERROR: 7,
    ECONNREFUSED: 7,
    ALREADY_RUNNING: 69,
    CHAIN_BINARY_MISSING: 69,
    API_PORT_IN_USE: 69,
    PORT_UNAVAILABLE: 69,
    WEBRTC_UNAVAILABLE: 69,
    INTERNAL: 1
  }
  for (const [code, exit] of Object.entries(wanted)) assert.equal(exitCodeOf(code), exit, code)
})

test('docs/cli.md lists every exit code', () => {
  const text = readFileSync(join(root, 'docs/cli.md'), 'utf8')
  for (const n of Object.values(exitCodes)) assert.match(text, new RegExp(`^\\| ${n} +\\|`, 'm'), `exit code ${n}`)
})
