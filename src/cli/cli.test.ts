/** The command line as processes, over a scripted node (test/kits/scripted-kith.ts): real signals, locks, pipes and HTTP. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { type Ended, type Json, newHome, Process } from '../../test/kits/process.ts'
import { HEX_A } from '../../test/kits/scripted-node.ts'

const KITH = join(import.meta.dirname, '../../test/kits/scripted-kith.ts')
const kith = (home: string, ...args: string[]): Promise<Ended> => new Process(KITH, home, args).ended()
const errorCode = (e: Ended): unknown => (e.last['error'] as Json | undefined)?.['code']

test('a node in the foreground serves all other commands of its home, and ends cleanly', async t => {
  const home = newHome(t)
  const up = new Process(KITH, home, ['up', '--json', '--port', '0'])
  t.after(() => up.kill('SIGKILL'))
  const ready = await up.line('ready')
  assert.deepEqual(Object.keys(ready).sort(), ['addresses', 'api', 'entityId', 'home', 'peerId', 'ready'])
  assert.match(String(ready['api']), /^http:\/\/127\.0\.0\.1:\d+$/)
  assert.equal(ready['home'], home)
  assert.equal(statSync(join(home, 'state/api.json')).mode & 0o777, 0o600)

  const [status, shared, got, second] = await Promise.all([
    kith(home, 'status', '--json'),
    kith(home, 'share', './some.iso', '--price', '0.001', '--json'),
    kith(home, 'get', 'good', '--json', '-o', 'down'),
    kith(home, 'up', '--json')
  ])
  assert.equal(status.code, 0)
  assert.equal(status.last['running'], true)
  assert.equal(shared.code, 0, shared.err)
  assert.equal(shared.last['path'], join(home, 'some.iso'))
  assert.equal(shared.last['pricePerMb'], '1000000000000000')
  assert.equal(shared.last['api'], ready['api'])
  assert.equal(got.code, 0, got.err)
  assert.equal(got.last['state'], 'done')
  assert.equal(got.last['path'], join(home, 'down/file.iso'))
  assert.ok(got.lines.slice(0, -1).every(l => l['type'] === 'download:changed') && got.lines.length >= 2)
  assert.equal(got.err, '')
  assert.equal(second.code, 69)
  assert.equal(errorCode(second), 'ALREADY_RUNNING')

  assert.equal((await kith(home, 'unshare', `kith:${HEX_A}`, '--json')).code, 3)
  assert.equal((await kith(home, 'unshare', HEX_A, '--json')).last['state'], 'stopped')
  assert.equal((await kith(home, 'unshare', '5a'.repeat(20), '--json')).last['state'], 'stopped')
  assert.equal((await kith(home, 'stop', '--json')).last['stopped'], true)
  const end = await up.ended()
  assert.equal(end.code, 0)
  assert.deepEqual(end.last, { stopped: true })
  assert.equal(existsSync(join(home, 'state/api.json')), false)
  assert.equal(existsSync(join(home, 'data/lock')), false)
  assert.equal((await kith(home, 'stop', '--json')).code, 7)
})

test('share seeds in its own process until a signal', async t => {
  const home = newHome(t)
  const share = new Process(KITH, home, ['share', 'a.iso', 'b.iso', '--json', '--port', '0'])
  t.after(() => share.kill('SIGKILL'))
  const ready = await share.line('ready')
  assert.match(String(ready['link']), /^kith:/)
  assert.equal((ready['shares'] as Json[]).length, 2)
  assert.equal((await kith(home, 'status', '--json')).last['running'], true)
  share.kill('SIGTERM')
  const end = await share.ended()
  assert.equal(end.code, 0, `it ended by itself within 4.5 s, or it would be 143: ${end.err}`)
  assert.deepEqual(end.last, { stopped: true, uploadedBytes: 0 })
})

test('how a download ends decides the exit code; what others wrote cannot reach the terminal', async t => {
  const home = newHome(t)
  const text = await kith(home, 'get', 'good', '--no-json', '--port', '0')
  assert.equal(text.code, 0, text.err)
  assert.match(text.out, /SHA-256 matches: abab/)
  assert.match(text.err, /% of 1\.0 MB/)
  const wrong = await kith(home, 'get', 'wrong', '--port', '0')
  assert.equal(wrong.code, 5)
  assert.equal(wrong.lines.length, 1)
  assert.match(wrong.err, /kith: the �\[31mhash� differs \(HASH_MISMATCH\)/)
  const none = await kith(home, 'get', 'no-sources', '--port', '0', '--json')
  assert.equal(none.code, 3)
  assert.deepEqual(none.last, { error: { code: 'NO_SOURCES', message: 'nobody has it', hint: 'ask who shared it' } })
  assert.match(none.err, /^kith: nobody has it \(NO_SOURCES\)\n {2}try: ask who shared it\n$/)
  const costly = await kith(home, 'get', 'expensive', '--max-cost', '0.5', '--port', '0', '--json')
  assert.equal(costly.code, 4)
  for (const e of [text, wrong, none, costly]) assert.doesNotMatch(e.out + e.err, /[\u0007\u001b\u202e]/)
})

test('Ctrl-C cancels a download politely, here and in a running node', async t => {
  const home = newHome(t)
  const own = new Process(KITH, home, ['get', 'endless', '--json', '--port', '0'])
  t.after(() => own.kill('SIGKILL'))
  await own.line('type')
  own.kill('SIGINT')
  const end = await own.ended()
  assert.equal(end.code, 130)
  assert.equal(end.last['state'], 'cancelled')

  const up = new Process(KITH, home, ['up', '--json', '--port', '0'])
  t.after(() => up.kill('SIGKILL'))
  await up.line('ready')
  const client = new Process(KITH, home, ['get', 'endless', '--json'])
  t.after(() => client.kill('SIGKILL'))
  await client.line('type')
  client.kill('SIGTERM')
  const ended = await client.ended()
  assert.equal(ended.code, 143)
  assert.equal(ended.last['state'], 'cancelled')
  const { downloads } = (await kith(home, 'status', '--json')).last as { downloads: Json[] }
  assert.equal(downloads[0]?.['state'], 'cancelled')
  // A node that dies leaves its client with a plain error.
  const orphan = new Process(KITH, home, ['get', 'endless', '--json'])
  t.after(() => orphan.kill('SIGKILL'))
  await orphan.line('type')
  up.kill('SIGKILL')
  const left = await orphan.ended()
  assert.equal(left.code, 7)
  assert.equal(errorCode(left), 'NODE_UNREACHABLE')
  // api.json of the dead node is no obstacle.
  assert.equal((await kith(home, 'status', '--json', '--port', '0')).last['running'], false)
})

test('a node that does not end is ended within 5 s, a second Ctrl-C at once', async t => {
  const home = newHome(t)
  for (const signals of [['SIGTERM'], ['SIGINT', 'SIGINT']] as const) {
    const up = new Process(KITH, home, ['up', '--json', '--port', '0'], undefined, { SCRIPTED_SLOW_CLOSE: '1' })
    t.after(() => up.kill('SIGKILL'))
    await up.line('ready')
    const at = performance.now()
    up.kill(signals[0])
    await up.line('stopped')
    if (signals[1]) up.kill(signals[1])
    const end = await up.ended()
    assert.equal(end.code, signals[1] ? 130 : 143)
    // A node that takes for ever was not waited for; by its own clock it is 4.5 s, or no time at all.
    assert.ok(performance.now() - at < 30_000)
  }
})

test('links and secrets come from stdin, files or a terminal, never without one from a question', async t => {
  const home = newHome(t)
  const piped = await new Process(KITH, home, ['get', '-', '--json', '--port', '0'], 'good\nmore\n').ended()
  assert.equal(piped.last['address'], 'good')
  assert.equal((await new Process(KITH, home, ['get', '-', '--json'], '').ended()).code, 2)
  // What was typed wrongly is repeated, but not the key in it.
  const twice = await kith(home, 'get', 'kith:abc?size=5#key=hidden', 'down', '--json')
  assert.equal(twice.code, 2)
  assert.match(twice.err, /kith:abc\?size=5#…, down/)
  assert.doesNotMatch(twice.err + JSON.stringify(twice.lines), /hidden/)
  const canary = 'legal winner thank year wave sausage worth useful legal winner thank yellow'
  const file = join(home, 'words')
  writeFileSync(file, `${canary}\n`, { mode: 0o600 })
  const [asked, fromFile, fromStdin, pass] = await Promise.all([
    new Process(KITH, home, ['wallet', 'restore', '--json', '--port', '0'], '').ended(),
    kith(home, 'wallet', 'restore', '--phrase-file', file, '--json', '--port', '0'),
    new Process(KITH, home, ['wallet', 'restore', '-', '--json', '--port', '0'], `${canary}\n`).ended(),
    new Process(KITH, home, ['wallet', 'create', '--passphrase', '--json', '--port', '0'], '').ended()
  ])
  assert.deepEqual([asked.code, errorCode(asked)], [2, 'NO_TTY'])
  assert.deepEqual([pass.code, errorCode(pass)], [2, 'NO_TTY'])
  assert.equal(fromFile.code, 0, fromFile.err)
  assert.equal(fromStdin.code, 0, fromStdin.err)
  chmodSync(file, 0o640)
  const open = await kith(home, 'wallet', 'restore', '--phrase-file', file, '--json', '--port', '0')
  assert.equal(errorCode(open), 'KEY_FILE_MODE')
  assert.doesNotMatch(fromFile.out + fromFile.err + fromStdin.out + fromStdin.err, /sausage/)
})

test('wallet, receipts, proof and settle', async t => {
  const home = newHome(t)
  const up = new Process(KITH, home, ['up', '--json', '--port', '0'])
  t.after(() => up.kill('SIGKILL'))
  await up.line('ready')
  const to = `0x${'22'.repeat(20)}`
  const [show, receipts, proof, settle, send, bad] = await Promise.all([
    kith(home, 'wallet', 'show', '--no-json'),
    kith(home, 'wallet', 'receipts', '--no-json'),
    kith(home, 'wallet', 'proof', 'r1', '-o', 'proof.json', '--json'),
    kith(home, 'settle', '--json'),
    kith(home, 'wallet', 'send', to, '0.5', '--json'),
    kith(home, 'wallet', 'send', to, '0,5', '--json')
  ])
  assert.match(show.out, /Money: 1\.5 coin\n {2}address 0x2222/)
  assert.match(receipts.out, /^r1 {2}we owe +0\.003 coin {2}3\.1 MB at 0\.001 coin per MB {2}paid, both signed/)
  assert.equal(JSON.parse(readFileSync(join(home, 'proof.json'), 'utf8')).receipt, 'r1', proof.err)
  assert.equal((settle.last['settlements'] as Json[])[0]?.['state'], 'confirmed')
  assert.equal(send.last['wei'], '500000000000000000')
  assert.deepEqual([bad.code, errorCode(bad)], [2, 'BAD_PRICE'])
})

test('id shows public ids, and the phrase only where it was asked to go', async t => {
  const home = newHome(t)
  const first = await kith(home, 'id', 'show', '--json')
  assert.match(String(first.last['person']), /^did:key:z6Mk/, first.err)
  assert.deepEqual((await kith(home, 'id', 'show', '--json')).last, first.last)
  const refused = await kith(home, 'id', 'phrase', '--json')
  assert.deepEqual([refused.code, errorCode(refused)], [2, 'NO_TTY'])
  assert.equal((await kith(home, 'id', 'phrase', '--out', 'words', '--json')).code, 0)
  const words = readFileSync(join(home, 'words'), 'utf8')
  assert.match(words, /^([a-z]+ ){11,23}[a-z]+\n$/)
  assert.equal(statSync(join(home, 'words')).mode & 0o777, 0o600)
  const other = join(home, 'other')
  mkdirSync(other)
  const restored = await kith(home, 'id', 'restore', '--phrase-file', 'words', '--home', other, '--json')
  assert.equal(restored.last['person'], first.last['person'], restored.err)
  assert.notEqual(restored.last['peerId'], first.last['peerId'])
  assert.equal((await kith(home, 'id', 'restore', '--phrase-file', 'words', '--json')).code, 6)
})

test('the local chain says where it is, and ends cleanly', async t => {
  const home = newHome(t)
  const chain = new Process(KITH, home, ['chain', 'up', '--json', '--port', '0', '--fund', `0x${'22'.repeat(20)}`])
  t.after(() => chain.kill('SIGKILL'))
  const ready = await chain.line('ready').catch(async (error: unknown) => {
    const end = await chain.ended()
    if (errorCode(end) === 'CHAIN_BINARY_MISSING' && process.env['KITH_REQUIRE_INTEROP'] !== '1') return undefined
    throw error
  })
  if (!ready) return t.skip('needs anvil (npm package: @foundry-rs/anvil-linux-amd64)')
  const call = { method: 'eth_getBalance', params: [`0x${'22'.repeat(20)}`, 'latest'], id: 1, jsonrpc: '2.0' }
  const headers = { 'Content-Type': 'application/json' }
  const answer = await fetch(String(ready['rpc']), { method: 'POST', headers, body: JSON.stringify(call) })
  assert.equal(BigInt(((await answer.json()) as { result: string }).result), 100n * 10n ** 18n)
  chain.kill('SIGTERM')
  const end = await chain.ended()
  assert.equal(end.code, 0, end.err)
  assert.deepEqual(end.last, { stopped: true })
})

test('mistakes on the command line end with 2, a sentence and a hint', async t => {
  const home = newHome(t)
  const cases = [['shar'], ['get'], ['up', '--port', '70000'], ['share', 'x', '--price', '-1']]
  const ends = await Promise.all(cases.map(args => kith(home, ...args)))
  for (const [i, end] of ends.entries()) {
    assert.equal(end.code, 2, cases[i]!.join(' '))
    assert.match(end.err, /^kith: .+ \([A-Z_]+\)\n {2}try: .+\n$/, end.err)
  }
  for (const [args, hint] of [
    [['agent', 'cancel'], 'kith agent cancel --help'],
    [['msg', 'sned'], 'send'],
    [['msg', 'zzz'], 'kith msg --help'],
    [['zzz'], 'kith --help']
  ] as const) {
    const wrong = await kith(home, ...args, '--json')
    assert.equal((wrong.last['error'] as Json)['hint'], hint, args.join(' '))
    assert.equal(wrong.code, 2)
  }
  const [help, none] = await Promise.all([kith(home, 'get', '--help'), kith(home)])
  assert.equal(help.code, 0)
  assert.match(help.out, /Examples:/)
  assert.equal(none.code, 0)
  assert.match(none.out, /Exit codes:/)
  assert.equal(existsSync(join(home, 'data')), false)
})

test('on a terminal, get draws its sources in place and gives the cursor back', async t => {
  if (!existsSync('/usr/bin/script')) {
    assert.notEqual(process.env['KITH_REQUIRE_INTEROP'], '1', 'script is missing')
    return t.skip('needs script (Debian package: bsdutils)')
  }
  const home = newHome(t)
  const env = { PATH: process.env['PATH'] ?? '', HOME: home, KITH_HOME: home, TERM: 'xterm', COLUMNS: '100', NO_COLOR: '1' }
  const command = `${process.execPath} ${KITH} get good --port 0`
  const child = spawn('/usr/bin/script', ['-qec', command, '/dev/null'], { env, cwd: home, stdio: ['ignore', 'pipe', 'inherit'] })
  let out = ''
  child.stdout.setEncoding('utf8').on('data', part => (out += part))
  const code = await new Promise(resolve => child.on('close', resolve))
  assert.equal(code, 0, out)
  assert.match(out, /\u001b\[\?25l[\s\S]*http +QmPeer1[\s\S]*\u001b\[\?25h/)
  assert.doesNotMatch(out, /\u001b\[\d+m|\u001b\[2J|\u202e/)
  assert.match(out, /SHA-256 matches/)
})
