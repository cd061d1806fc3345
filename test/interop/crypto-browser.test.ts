/** Chromium's WebCrypto behind #crypto: the same verdicts as in Node, and the same sessions byte by byte. */
import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { promisify } from 'node:util'
import * as crypto from '../../src/platform/crypto.node.ts'
import { VECTOR_FILES, type Vectors, type Verdicts, verdictsOf } from '../kits/crypto-verdicts.ts'
import type { SessionFacts, SessionVectors } from '../kits/session-facts.ts'

const ROOT = join(import.meta.dirname, '../..')
const json = <T>(path: string): T => JSON.parse(readFileSync(join(ROOT, path), 'utf8')) as T
const run = promisify(execFile)

/** False (after saying so) when it is missing; with KITH_REQUIRE_INTEROP=1 that is a failure. */
function hasChromium(t: TestContext): boolean {
  if (spawnSync('which', ['chromium']).status === 0) return true
  const why = 'chromium is missing: install Debian package chromium'
  assert.notEqual(process.env['KITH_REQUIRE_INTEROP'], '1', why)
  t.skip(why)
  return false
}

test('Chromium and Node give one verdict on every vector, and make the same sessions (threats SM16, HS1, HS2)', async t => {
  if (!hasChromium(t)) return
  const profile = await mkdtemp(join(tmpdir(), 'kith-crypto-'))
  t.after(() => rm(profile, { recursive: true, force: true }))
  const script = join(import.meta.dirname, 'crypto-browser.ts')
  const { stdout } = await run(process.execPath, [script, profile], { timeout: 60_000, killSignal: 'SIGKILL' })
  const inBrowser = JSON.parse(stdout) as { readonly verdicts: Verdicts; readonly facts: SessionFacts }

  const vectors = Object.fromEntries(
    Object.entries(VECTOR_FILES).map(([set, path]) => [set, json(`test/vectors/${path}`)])
  ) as unknown as Vectors
  assert.deepEqual(inBrowser.verdicts, await verdictsOf(crypto, vectors))
  assert.equal(inBrowser.verdicts.cctv.split('V').length - 1, 43)
  assert.equal(inBrowser.verdicts.speccheck, 'XXXVXXXXXXXX')
  assert.equal(inBrowser.verdicts.x25519.split('X').length - 1, 31)

  const session = json<SessionVectors>('docs/wire/session-vectors.json')
  for (const [name, value] of Object.entries(inBrowser.facts)) assert.equal(value, session[name as keyof SessionVectors], name)
})
