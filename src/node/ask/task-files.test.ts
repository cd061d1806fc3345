/** Files of tasks, whose links and sizes peers choose. */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import test from 'node:test'
import { tempFolder } from '../../../test/kits/messaging.ts'
import { formatLink, parseLink } from '../../wire/link.ts'
import type { DownloadView, GetRequest, NodeEvent } from '../types.ts'
import { NodeTaskFiles } from './task-files.node.ts'

const link = formatLink({ fileId: new Uint8Array(32).fill(7), root: undefined, size: undefined, name: 'in.txt', via: [] })

/** A node whose downloads learn that the file has `size` bytes, and end when they are let. */
class FakeNode {
  readonly asked: GetRequest[] = []
  readonly cancelled: string[] = []
  readonly #listeners = new Set<(e: NodeEvent) => void>()
  readonly #size: number
  view: DownloadView | undefined
  constructor(size: number) {
    this.#size = size
  }
  readonly events = {
    on: (listener: (e: NodeEvent) => void, signal?: AbortSignal): (() => void) => {
      const off = (): void => void this.#listeners.delete(listener)
      this.#listeners.add(listener)
      signal?.addEventListener('abort', off, { once: true })
      return off
    }
  }
  share = (): Promise<never> => Promise.reject(new Error('unused'))
  download = (): DownloadView | undefined => this.view
  get = async (request: GetRequest): Promise<DownloadView> => {
    this.asked.push(request)
    const path = join(request.folder, 'in.txt')
    writeFileSync(path, 'x')
    this.view = { id: 'd', state: 'fetching', path, size: this.#size, message: '' } as DownloadView
    return this.view
  }
  cancel = async (id: string): Promise<void> => {
    this.cancelled.push(id)
    this.tell('cancelled')
  }
  tell(state: DownloadView['state']): void {
    this.view = { ...this.view!, state }
    for (const listener of [...this.#listeners]) listener({ type: 'download:changed', download: this.view })
  }
}

const filesOf = (node: FakeNode, folder: string): NodeTaskFiles =>
  new NodeTaskFiles(
    () => node,
    join(folder, 'files'),
    (a, from) => a.includes('/9.9.9.9/') || from === 'did:near'
  )
const left = (folder: string): number => (existsSync(join(folder, 'files')) ? readdirSync(join(folder, 'files')).length : 0)

test('only kith: links are followed: no URL, path or other network that a peer names', async () => {
  using folder = tempFolder()
  let asked = 0
  const server = createServer((_, response) => {
    asked++
    response.end('a secret of the local network')
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const node = new FakeNode(10)
  using files = filesOf(node, folder.path)
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/latest/meta-data`
  for (const bad of [url, `${folder.path}/x.torrent`, `magnet:?xt=urn:btih:${'a'.repeat(40)}`, `ed2k://|file|x|1|${'a'.repeat(32)}|/`, 'x'])
    await assert.rejects(files.getFile({ link: bad, name: 'x', size: 10 }), { code: 'BAD_LINK' })
  assert.deepEqual([asked, node.asked.length, left(folder.path)], [0, 0, 0])
  server.close()
})

test('addresses in a link of a peer are asked only where that peer may send us', async () => {
  using folder = tempFolder()
  const node = new FakeNode(10)
  using files = filesOf(node, folder.path)
  const via = ['/ip4/127.0.0.1/tcp/22/p2p/12D3KooWx', '/ip4/9.9.9.9/tcp/4801/p2p/12D3KooWx']
  const named = formatLink({ fileId: new Uint8Array(32), root: undefined, size: 10, name: undefined, via })
  for (const from of [undefined, 'did:far', 'did:near']) {
    const stop = new AbortController()
    const getting = files.getFile({ link: named, name: 'x', size: 10 }, stop.signal, from)
    stop.abort(new Error('over'))
    await assert.rejects(getting)
  }
  const asked = node.asked.map(r => [parseLink(r.address).via, r.isFromPeer])
  assert.deepEqual(asked, [
    [via.slice(1), true],
    [via.slice(1), true],
    [via, true]
  ])
})

test('what turns out to be larger than was said is not fetched on, and nothing of it stays', async () => {
  using folder = tempFolder()
  const node = new FakeNode(10 ** 9)
  using files = filesOf(node, folder.path)
  await assert.rejects(files.getFile({ link, name: 'x', size: 10 }), { code: 'TOO_LARGE' })
  assert.deepEqual([node.cancelled, left(folder.path)], [['d'], 0])
  const told = formatLink({ fileId: new Uint8Array(32), root: undefined, size: 10 ** 9, name: undefined, via: [] })
  await assert.rejects(files.getFile({ link: told, name: 'x', size: 10 }), { code: 'TOO_LARGE' })
  await assert.rejects(files.getFile({ link, name: 'x', size: 10 ** 12 }), { code: 'TOO_LARGE' })
  assert.equal(node.asked.length, 1)
})

test('a file is there until it is dropped, and one that is given up is not; nothing else is removed', async () => {
  using folder = tempFolder()
  const node = new FakeNode(10)
  using files = filesOf(node, folder.path)
  const getting = files.getFile({ link, name: 'x', size: 10 })
  while (node.view === undefined) await Promise.resolve()
  await Promise.resolve()
  node.tell('done')
  const path = await getting
  assert.ok(existsSync(path))
  const other = join(folder.path, 'other')
  mkdirSync(other)
  files.dropFile(join(other, 'mine.txt'))
  assert.ok(existsSync(other))
  files.dropFile(path)
  assert.deepEqual([existsSync(path), left(folder.path)], [false, 0])
  const stop = new AbortController()
  const stopped = files.getFile({ link, name: 'x', size: 10 }, stop.signal)
  stop.abort(new Error('over'))
  await assert.rejects(stopped, /over/)
  assert.equal(left(folder.path), 0)
  rmSync(other, { recursive: true })
})
