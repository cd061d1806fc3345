import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { eventually } from '../../test/kits/transfer-doubles.ts'
import { loadConfig } from './load-config.node.ts'
import { openNode } from './open.node.ts'
import { RunningNode } from './running-node.node.ts'
import type { DownloadView, KithNode, NodeEvent } from './types.ts'
import { version } from './version.ts'

const folder = mkdtempSync(join(tmpdir(), 'kith-node-'))
test.after(() => rmSync(folder, { recursive: true, force: true }))

const open = (name: string, resume = false): Promise<KithNode> =>
  openNode(loadConfig({ home: join(folder, name), port: 0, listen: ['127.0.0.1'], mdns: false }, {}), { resume })

/** The first download view that fits, from now on. */
function until(node: KithNode, fits: (view: DownloadView) => boolean): Promise<DownloadView> {
  return new Promise(resolve => {
    const off = node.events.on((event: NodeEvent) => {
      if (event.type !== 'download:changed' || !fits(event.download)) return
      off()
      resolve(event.download)
    })
    const now = node.downloads().find(fits)
    if (now) {
      off()
      resolve(now)
    }
  })
}

test('two nodes share and fetch over real sockets, by link and by torrent', async () => {
  await using seeder = await open('a')
  await using buyer = await open('b')
  const path = join(folder, 'film.bin')
  const content = randomBytes(3 * 1024 * 1024 + 17)
  writeFileSync(path, content)
  const share = await seeder.share({ path })
  const [byLink, byTorrent] = [join(folder, 'by-link'), join(folder, 'by-torrent')]
  for (const f of [byLink, byTorrent]) mkdirSync(f)
  await buyer.get({ address: share.link, folder: byLink })
  await buyer.get({ address: share.torrentPath!, folder: byTorrent, peers: [`127.0.0.1:${bittorrentPort(seeder)}`] })
  for (const f of [byLink, byTorrent]) {
    const view = await until(buyer, d => d.path?.startsWith(f) === true && d.finishedAt !== undefined)
    assert.deepEqual(readFileSync(view.path!), content)
    assert.equal(view.fileId, share.fileId, 'the SHA-256 is told also for torrents')
  }
  assert.equal((await seeder.unshare(share.cid)).state, 'stopped')
  assert.deepEqual(seeder.shares(), [])
  assert.deepEqual(readFileSync(path), content, 'the file is not touched')
})

function bittorrentPort(node: KithNode): number {
  assert.ok(node instanceof RunningNode)
  return node.ports.bittorrent
}

test('CH15: an encrypted share that is cancelled leaves no ciphertext and no key', async () => {
  await using node = await open('cancelled')
  const path = join(folder, 'secret.bin')
  writeFileSync(path, randomBytes(4 * 1024 * 1024))
  const stop = new AbortController()
  const off = node.events.on((event: NodeEvent) => {
    if (event.type === 'share:progress' && event.hashedBytes === event.size) stop.abort() // encrypted, not hashed yet
  })
  await assert.rejects(node.share({ path, encrypt: true }, stop.signal), { code: 'CANCELLED' })
  off()
  assert.deepEqual(readdirSync(join(folder, 'cancelled', 'data', 'encrypted')), [])
})

test('two nodes that fetch the same torrent help each other', async () => {
  await using seeder = await open('s')
  await using a = await open('t')
  await using b = await open('u')
  const path = join(folder, 'swarm.bin')
  const content = randomBytes(8 * 1024 * 1024)
  writeFileSync(path, content)
  const share = await seeder.share({ path, uploadLimit: 2 * 1024 * 1024 })
  const outs = ['swarm-a', 'swarm-b'].map(n => join(folder, n))
  for (const o of outs) mkdirSync(o)
  const seed = `127.0.0.1:${bittorrentPort(seeder)}`
  await a.get({ address: share.torrentPath!, folder: outs[0]!, peers: [seed], seed: true })
  await until(a, d => d.verifiedBytes > 1024 * 1024)
  await b.get({ address: share.torrentPath!, folder: outs[1]!, peers: [`127.0.0.1:${bittorrentPort(a)}`] }) // knows only the other downloader
  const done = await until(b, d => d.finishedAt !== undefined)
  assert.equal(done.state, 'done', done.message)
  assert.deepEqual(readFileSync(done.path!), content)
})

test('a node that is stopped in the middle of a download goes on with it when it is started again', async () => {
  await using seeder = await open('c')
  const path = join(folder, 'long.bin')
  const content = randomBytes(6 * 1024 * 1024)
  writeFileSync(path, content)
  const share = await seeder.share({ path, uploadLimit: 2 * 1024 * 1024 })
  const out = join(folder, 'out')
  mkdirSync(out)
  let before: DownloadView
  {
    await using node = await open('d', true)
    await node.get({ address: share.link, folder: out })
    before = await until(node, d => d.verifiedBytes >= 1024 * 1024)
  }
  assert.equal(statSync(join(folder, 'd', 'state', 'downloads.json')).mode & 0o077, 0)
  {
    await using node = await open('d', true)
    const done = await until(node, d => d.finishedAt !== undefined)
    assert.equal(done.state, 'done', done.message)
    assert.ok(done.resumedBytes >= before.verifiedBytes)
    assert.deepEqual(readFileSync(done.path!), content)
  }
  await using again = await open('d', true)
  assert.deepEqual(again.downloads(), [], 'what is done is not done again')
})

test('shares survive a restart, and the same unchanged file is not hashed again', async () => {
  const path = join(folder, 'kept.bin')
  writeFileSync(path, randomBytes(500_000))
  {
    await using node = await open('e')
    await node.share({ path })
  }
  await using node = await open('e')
  assert.deepEqual(
    node.shares().map(s => [s.path, s.state]),
    [[path, 'seeding']]
  )
  let hashed = 0
  node.events.on(e => void (e.type === 'share:progress' && hashed++))
  await node.share({ path })
  assert.equal(hashed, 0)
})

test('one home has one node', async () => {
  await using _ = await open('f')
  await assert.rejects(open('f'), { code: 'ALREADY_RUNNING' })
})

test('a price without a wallet, an unknown protocol and a missing file are refused in words', async () => {
  await using node = await open('g')
  const path = join(folder, 'x.bin')
  writeFileSync(path, 'x')
  await assert.rejects(node.share({ path, pricePerMb: '5' }), { code: 'PAYMENTS_OFF' })
  await assert.rejects(node.share({ path, protocols: ['gopher'] }), { code: 'UNKNOWN_PROTOCOL' })
  await assert.rejects(node.share({ path: join(folder, 'nothing') }), { code: 'FILE_NOT_FOUND' })
  await assert.rejects(node.share({ path: folder }), { code: 'NOT_A_FILE' })
  await assert.rejects(node.get({ address: 'hello', folder }), { code: 'BAD_LINK' })
  await assert.rejects(node.get({ address: 'a'.repeat(64), folder: join(folder, 'nothing') }), { code: 'PATH_FORBIDDEN' })
})

test('the version is the one of package.json', () => {
  const { version: declared } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
  assert.equal(version, declared)
})

test('a peer that the user bans is cut off and cannot come back, also after a restart, until it is pardoned', async () => {
  await using b = await open('banned')
  // Messaging opens when it is first asked for.
  await b.ask.messages()
  const { peerId, addresses } = b.info()
  const to = addresses.find(a => !a.includes('/ws'))!
  const isLinked = async (node: KithNode): Promise<boolean> => (await node.status()).peers.some(c => c.peerId === peerId)
  {
    await using a = await open('banning')
    await a.ask.send({ to, text: 'hello' })
    await eventually('b has it', async () => (await b.ask.messages({ direction: 'in' })).length === 1)
    assert.equal(await isLinked(a), true)
    await a.ask.changePeer({ peer: peerId, banned: true })
    await eventually('cut off', async () => !(await isLinked(a)))
  }
  await using a = await open('banning')
  await a.ask.messages()
  const from = a.info().addresses.find(x => !x.includes('/ws'))!
  // It may have thought for a moment that it was let in.
  const { state } = await b.ask.send({ to: from, text: 'let me in' }).catch(() => ({ state: 'failed' }))
  assert.notEqual(state, 'delivered')
  await eventually('b sees that it is not', async () => (await b.status()).peers.length === 0)
  assert.deepEqual([await isLinked(a), (await a.ask.messages({ direction: 'in' })).length], [false, 0])
  await a.ask.changePeer({ peer: peerId, banned: false })
  await b.ask.send({ to: from, text: 'thank you' })
  await eventually('heard again', async () => (await a.ask.messages({ direction: 'in' })).some(m => m.text === 'thank you'), 20_000)
})
