/** What a user does, with real processes: share, get by every kind of address, restart, unshare; homes, signals, exit codes. */
import assert from 'node:assert/strict'
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { suite, type TestContext } from 'node:test'
import { formatLink, parseLink } from '../../src/wire/link.ts'
import { downloadIn, errorCode, followDownload, isOver, Lab, LOCAL, sha256OfFile } from '../kits/lab.ts'
import type { Ended } from '../kits/process.ts'
import { eventually } from '../kits/transfer-doubles.ts'

const SIZE = 3 * 2 ** 20 + 77
/** After SIGTERM a process that has not ended by itself within 4.5 s of its own clock is ended with 143. */
const ENDED_IN_TIME = 0

suite('share and get', { concurrency: 3, timeout: 180_000 }, () => {
  test('one file by every kind of address, through clients of a node and alone, until it is unshared', byEveryAddress)
  test('two processes of one home: whoever comes second is a client, or says who holds it', oneHome)
  test('names that others chose stay inside the folder, and nothing there is followed or overwritten', hostileNames)
  test('a file that changes while it is seeded is not served any more', changedFile)
  test('without KITH_HOME the XDG directories are used, each for its own', xdgFolders)
  test('mistakes end with their exit codes, a code and a hint', mistakes)
})

async function byEveryAddress(t: TestContext): Promise<void> {
  const lab = new Lab(t)
  const file = lab.file('some file.bin', SIZE)
  const id = sha256OfFile(file)
  const a = await lab.ready('a', 'up')
  assert.deepEqual(Object.keys(a.ready).sort(), ['addresses', 'api', 'entityId', 'home', 'messages', 'peerId', 'ready'])
  const b = await lab.ready('b', 'up', '--bootstrap', a.ready.addresses[0]!)

  const shared = await lab.client('a', 'share', file)
  assert.equal(shared.code, 0, shared.err)
  assert.equal(shared.last['fileId'], id)
  const cid = String(shared.last['cid'])
  const link = String(shared.last['link'])
  const url = (shared.last['httpUrls'] as string[])[0]!

  // Alone, from a bare id, and knowing nobody but B, which does not have the file: only the DHT can tell.
  const c = lab.kith('c', 'get', id, '-o', lab.dir('out-c'), '--bootstrap', b.ready.addresses[0]!)
  const [byLink, byCid, byUrl, byStdin, fromC] = await Promise.all([
    lab.client('b', 'get', link, '-o', lab.dir('out-link')),
    lab.client('b', 'get', cid, '-o', lab.dir('out-cid')),
    lab.client('b', 'get', url, '-o', lab.dir('out-url')),
    lab.start('b', ['get', '-', '--json', '-o', lab.dir('out-stdin')], `${link}\n`).ended(),
    c.ended()
  ])
  for (const end of [byLink, byCid, byUrl, byStdin, fromC]) {
    assert.equal(end.code, 0, end.err + end.out.slice(-2000))
    assert.equal(end.last['state'], 'done')
    assert.equal(sha256OfFile(String(end.last['path'])), id)
    assert.equal(end.last['fileId'], id, 'also of a URL, whose hash nobody had told')
  }
  for (const end of [byLink, byCid, byStdin, fromC]) assert.equal(end.last['sha256Matches'], true)
  for (const out of ['link', 'cid', 'url', 'stdin', 'c']) assert.equal(readdirSync(join(lab.folder, `out-${out}`)).length, 1, out)
  assert.ok(fromC.lines.slice(0, -1).every(l => downloadIn(l) !== undefined))

  // What was shared is seeded again after a restart, on other ports, found by a node that only knows B.
  a.process.kill('SIGTERM')
  assert.equal((await a.process.ended()).code, ENDED_IN_TIME)
  await lab.ready('a', 'up', '--bootstrap', b.ready.addresses[0]!)
  const status = await lab.client('a', 'status')
  const [again] = status.last['shares'] as { state: string; link: string; uploadedBytes: number }[]
  assert.equal(again?.state, 'seeding')
  assert.ok(again.uploadedBytes >= 4 * SIZE, 'figures survive a restart')
  const taken = join(lab.dir('out-late'), 'some file.bin')
  writeFileSync(taken, 'somebody else has this name')
  const late = lab.kith('c', 'get', again.link, '-o', join(taken, '..'))
  assert.equal((await late.ended()).code, 0)
  assert.deepEqual(readdirSync(join(lab.folder, 'out-late')).sort(), ['some file (2).bin', 'some file.bin'])
  assert.equal(readFileSync(taken, 'utf8'), 'somebody else has this name')

  const unshared = await lab.client('a', 'unshare', cid)
  assert.equal(unshared.last['state'], 'stopped', unshared.err)
  assert.equal(sha256OfFile(file), id, 'the file is not touched')
  const nobody = lab.kith('c', 'get', again.link, '-o', lab.dir('out-c'), '--bootstrap', b.ready.addresses[0]!)
  const end = await nobody.ended()
  assert.deepEqual([end.code, errorCode(end)], [3, 'NO_SOURCES'], end.err)
  assert.equal(readdirSync(join(lab.folder, 'out-c')).length, 1)
}

async function oneHome(t: TestContext): Promise<void> {
  const lab = new Lab(t)
  const files = [lab.file('one.bin', 1000, 1), lab.file('two.bin', 1000, 2)]
  const both = files.map(f => lab.kith('h', 'share', f))
  // One holds the home and stays. The other hands its file over and ends, or cannot reach a node that is still starting.
  const holder = await Promise.any(both.map(p => p.find('that it stays', l => 'ready' in l && p.child.exitCode === null).then(() => p)))
  const other = both.find(p => p.child.exitCode !== null) ?? both.find(p => p !== holder)!
  const end = await other.ended()
  const stays = both.find(p => p !== other)!
  const shared = end.code === 0 ? 2 : 1
  if (shared === 2) assert.equal(end.last['api'], (await stays.line('ready'))['api'], 'they used the same node')
  else assert.deepEqual([end.code, errorCode(end)], [69, 'ALREADY_RUNNING'], end.err)
  assert.equal((await lab.api('h').shares()).length, shared)
  const up = await lab.kith('h', 'up').ended()
  assert.deepEqual([up.code, errorCode(up)], [69, 'ALREADY_RUNNING'])
  stays.kill('SIGTERM')
  const stopped = await stays.ended()
  assert.equal(stopped.code, ENDED_IN_TIME, stopped.err)
  assert.equal(stopped.last['stopped'], true)
  assert.equal(existsSync(join(lab.folder, 'h/data/lock')), false)
}

async function hostileNames(t: TestContext): Promise<void> {
  const lab = new Lab(t)
  const file = lab.file('f.bin', 70_000)
  const { ready } = await lab.ready('a', 'share', file)
  await lab.ready('b', 'up')
  const api = lab.api('b')
  const good = parseLink(ready.link!)
  const names: [string, RegExp][] = [
    ['../../evil', /^_\._\.\._evil$/],
    ['/etc/passwd', /^_etc_passwd$/],
    ['C:\\Windows\\x', /^C__Windows_x$/],
    ['nul.txt', /^_nul\.txt$/],
    ['gnp\u202eexe.\u0000\u001b[2J', /^gnp_exe\.__\[2J$/],
    ['..', /^[0-9a-f]{16}$/],
    ['.bashrc', /^_bashrc$/],
    ['x'.repeat(500), /^x{150,200}$/],
    ['taken.txt', /^taken \(2\)\.txt$/],
    ['link.txt', /^link \(2\)\.txt$/],
    ['folder.d', /^folder \(2\)\.d$/]
  ]
  const fetchAs = async ([name, expected]: [string, RegExp], i: number): Promise<void> => {
    const out = lab.dir(`out-${i}`)
    const outside = join(lab.folder, `outside-${i}`)
    writeFileSync(join(out, 'taken.txt'), 'mine')
    symlinkSync(outside, join(out, 'link.txt'))
    mkdirSync(join(out, 'folder.d'))
    const before = readdirSync(out)
    const { id } = await api.get({ address: formatLink({ ...good, name }), folder: out })
    const view = await followDownload(api, id, isOver)
    assert.equal(view.state, 'done', `${JSON.stringify(name)}: ${view.message}`)
    const added = readdirSync(out).filter(f => !before.includes(f))
    assert.equal(added.length, 1, JSON.stringify(name))
    assert.match(added[0]!, expected, JSON.stringify(name))
    assert.equal(sha256OfFile(join(out, added[0]!)), ready.fileId)
    assert.equal(statSync(join(out, added[0]!)).mode & 0o111, 0, 'never executable')
    assert.equal(readFileSync(join(out, 'taken.txt'), 'utf8'), 'mine')
    assert.equal(existsSync(outside), false)
    assert.doesNotMatch(JSON.stringify(view.name), /\\u001b|\\u0000|\u202e/)
  }
  await Promise.all(names.map(fetchAs))
  // A part file's name that is a link already: not followed either.
  const trap = lab.dir('trap')
  const outside = join(lab.folder, 'trapped')
  writeFileSync(outside, 'mine')
  symlinkSync(outside, join(trap, `.kith-${ready.fileId!.slice(0, 16)}.part`))
  const { id } = await api.get({ address: ready.link!, folder: trap })
  const view = await followDownload(api, id, isOver)
  assert.equal(view.state, 'failed')
  assert.equal(readFileSync(outside, 'utf8'), 'mine')
}

async function changedFile(t: TestContext): Promise<void> {
  const lab = new Lab(t)
  const file = lab.file('f.bin', SIZE)
  const { ready, process } = await lab.ready('a', 'share', file)
  const url = ready.httpUrls![0]!
  const fetchIt = async (): Promise<{ status: number; bytes: Buffer }> => {
    const answer = await fetch(url, { headers: { range: `bytes=0-${SIZE - 1}` } })
    return { status: answer.status, bytes: Buffer.from(await answer.arrayBuffer()) }
  }
  assert.equal((await fetchIt()).status, 206)
  const before = readFileSync(file)
  appendFileSync(file, 'more')
  const longer = await fetchIt()
  assert.ok(longer.status === 206 && longer.bytes.equals(before), 'what is as it was is still served')
  writeFileSync(file, 'other bytes', { flag: 'r+' })
  await eventually('it is refused', async () => (await fetchIt().catch(() => ({ status: 0 }))).status === 410)
  await eventually('the share is over', async () => (await lab.api('a').shares())[0]?.state === 'changed')
  assert.equal((await fetch(url)).status, 404)
  assert.equal(process.child.exitCode, null)
}

async function xdgFolders(t: TestContext): Promise<void> {
  const lab = new Lab(t)
  const env = {
    KITH_HOME: '',
    HOME: lab.dir('user'),
    XDG_CONFIG_HOME: lab.dir('xdg/config'),
    XDG_DATA_HOME: lab.dir('xdg/data'),
    XDG_STATE_HOME: lab.dir('xdg/state'),
    XDG_CACHE_HOME: lab.dir('xdg/cache')
  }
  mkdirSync(join(env.XDG_CONFIG_HOME, 'kith'))
  writeFileSync(join(env.XDG_CONFIG_HOME, 'kith/config.json'), JSON.stringify({ version: 1, capacityBytes: 12_345_678 }))
  const up = lab.start('user', ['up', ...LOCAL], undefined, env)
  const ready = await up.line('ready')
  assert.equal(ready['home'], join(env.XDG_DATA_HOME, 'kith'))
  const status = await lab.start('user', ['status', '--json'], undefined, env).ended()
  assert.equal((status.last['node'] as { capacityBytes: number }).capacityBytes, 12_345_678, status.err)
  assert.ok(existsSync(join(env.XDG_DATA_HOME, 'kith/identity/identity.json')))
  assert.ok(existsSync(join(env.XDG_STATE_HOME, 'kith/api.json')))
  up.kill('SIGTERM')
  assert.equal((await up.ended()).code, 0)
  assert.deepEqual(
    readdirSync(env.HOME).filter(f => f !== '.npm'),
    []
  )
}

async function mistakes(t: TestContext): Promise<void> {
  const lab = new Lab(t)
  writeFileSync(join(lab.folder, 'empty'), '')
  const file = lab.file('f.bin', 1000)
  await lab.ready('h', 'up')
  const cases: [readonly string[], number, string][] = [
    [['share', join(lab.folder, 'absent')], 3, 'FILE_NOT_FOUND'],
    [['share', join(lab.folder, 'empty')], 2, 'FILE_EMPTY'],
    [['share', lab.folder], 2, 'NOT_A_FILE'],
    [['get', 'kith:nonsense'], 2, 'BAD_LINK'],
    [['get', 'ab'.repeat(32), '-o', join(lab.folder, 'nowhere')], 6, 'PATH_FORBIDDEN'],
    [['unshare', 'ab'.repeat(32)], 3, 'UNKNOWN_SHARE'],
    [['share', join(lab.folder, 'empty'), '--price', '1'], 4, 'PAYMENTS_OFF'],
    [['share', file, '--protocols', 'http,ftp'], 2, 'UNKNOWN_PROTOCOL'],
    [['share', file, '--tracker', 'ftp://x'], 2, 'BAD_ADDRESS'],
    [['get', `kith:${'a'.repeat(60_000)}`], 2, 'BAD_LINK'],
    [['get', 'ed2k://|file|../x|10|nonsense|/'], 2, 'BAD_ED2K_LINK'],
    [['get', 'ab'.repeat(32), '--limit', '7'], 2, 'BAD_RATE'],
    [['info', lab.file('bad.torrent', 100)], 2, 'BENCODE_ERROR']
  ]
  const alone: [readonly string[], number, string][] = [
    [['get', 'ab'.repeat(32), '--proxy', 'socks5://x:1'], 2, 'PROXY_INVALID'],
    [['up', '--dht-bootstrap', 'nonsense'], 2, 'USAGE']
  ]
  const check = async (end: Ended, [args, code, error]: (typeof cases)[number]): Promise<void> => {
    assert.deepEqual([end.code, errorCode(end)], [code, error], `${args.join(' ')}: ${end.err}`)
    assert.match(end.err, /^kith: .+ \([A-Z0-9_]+\)\n/)
  }
  // A few at a time: a node that is kept from answering for long counts as one that does not answer.
  while (cases.length > 0) await Promise.all(cases.splice(0, 4).map(async c => check(await lab.client('h', ...c[0]), c)))
  await Promise.all(alone.map(async (c, i) => check(await lab.kith(`alone-${i}`, ...c[0]).ended(), c)))
}
