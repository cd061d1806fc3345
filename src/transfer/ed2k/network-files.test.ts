/** nodes.dat and server.met, as other programs write them and as nobody would; files on disk. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import fc from 'fast-check'
import { concatBytes, hexToBytes } from '../../base/bytes.ts'
import { KithError } from '../../base/errors.ts'
import { createLogger } from '../../base/log.ts'
import { hostToNumber } from '../kad/messages.ts'
import { readNodesFile } from '../kad/nodes-file.ts'
import { ipToNumber, LeWriter } from './bytes.ts'
import { MAX_NETWORK_FILE_BYTES } from './limits.ts'
import { loadKadNodes, readNetworkFiles, saveKadNodes } from './network-files.node.ts'
import { readServerMet } from './server-met.ts'
import { type Tag, writeTags } from './tags.ts'

interface Node {
  readonly host: string
  readonly port: number
  readonly last: number
}
const node = (host: string, port = 4672, last = 8): Node => ({ host, port, last })

function nodesFile(version: 0 | 1 | 2 | 3, nodes: readonly Node[]): Uint8Array {
  const w = new LeWriter()
  if (version > 0) w.u32(0).u32(version)
  if (version === 3) w.u32(1)
  w.u32(nodes.length)
  for (const { host, port, last } of nodes) {
    w.bytes(new Uint8Array(16).fill(3)).u32(hostToNumber(host)).u16(port).u16(4662).u8(last)
    if (version === 2) w.u32(7).u32(8).u8(1)
  }
  return w.done()
}
function serverMet(servers: readonly { host: string; port: number; tags?: readonly Tag[] }[]): Uint8Array {
  const w = new LeWriter().u8(0xe0).u32(servers.length)
  for (const { host, port, tags = [] } of servers) writeTags(w.u32(ipToNumber(host)).u16(port), tags)
  return w.done()
}

test('a nodes.dat is read in each of its versions; only public nodes with a port for files, each once', () => {
  // Version 2 byte by byte, with one node.
  const seen = hexToBytes('000000000200000001000000000102030405060708090a0b0c0d0e0fcb7101084012361208000000000000000001')
  assert.deepEqual(readNodesFile(seen), ['8.1.113.203:4672'])
  const nodes = [node('8.8.8.8'), node('8.8.4.4', 4673, 3), node('8.8.8.8'), node('10.0.0.1'), node('127.0.0.1'), node('8.8.8.9', 25)]
  for (const version of [1, 2, 3] as const) assert.deepEqual(readNodesFile(nodesFile(version, nodes)), ['8.8.8.8:4672', '8.8.4.4:4673'])
  assert.deepEqual(readNodesFile(nodesFile(0, nodes)), ['8.8.4.4:4673'], 'a type above 3: it was gone')
  assert.deepEqual(readNodesFile(nodesFile(1, [])), [])
  const many = Array.from({ length: 1000 }, (_, i) => node(`9.0.${i >> 8}.${i & 255}`))
  const some = readNodesFile(nodesFile(1, many))
  assert.deepEqual([some.length, new Set(some).size, some[99]], [100, 100, '9.0.3.222:4672'])
})
test('what is no nodes.dat is refused: other versions, counts that do not fit, too many nodes, a cut', () => {
  const good = nodesFile(2, [node('8.8.8.8'), node('8.8.4.4')])
  const bad = [
    new Uint8Array(),
    new Uint8Array(3),
    good.subarray(0, -1),
    concatBytes(good, new Uint8Array(1)),
    new LeWriter().u32(0).u32(4).u32(0).done(),
    new LeWriter().u32(0).u32(3).u32(2).u32(0).done(),
    new LeWriter().u32(0).u32(1).u32(0xffff_ffff).done(),
    nodesFile(
      1,
      Array.from({ length: 10_001 }, () => node('8.8.8.8'))
    )
  ]
  for (const b of bad) assert.throws(() => readNodesFile(b), { code: 'BAD_NODES_FILE' })
})
test('the first four public servers of a server.met are used', () => {
  const tags: Tag[] = [{ name: 1, type: 'text', value: 'a server' }]
  const hosts = ['8.8.8.8', '192.168.0.1', '8.8.4.4', '8.8.8.8', '9.9.9.9', '9.9.9.10', '9.9.9.11']
  const servers = hosts.map(host => ({ host, port: 4661, tags }))
  assert.deepEqual(readServerMet(serverMet(servers)), ['8.8.8.8:4661', '8.8.4.4:4661', '9.9.9.9:4661', '9.9.9.10:4661'])
  const good = serverMet(servers)
  const bad = [new Uint8Array(), good.subarray(0, -1), concatBytes(good, new Uint8Array(1)), new LeWriter().u8(1).u32(0).done()]
  for (const b of [...bad, new LeWriter().u8(0xe0).u32(0xffff_ffff).done()])
    assert.throws(() => readServerMet(b), { code: 'BAD_SERVER_MET' })
})
test('ED2: any bytes are read or refused with a code of their own, also those that begin as such files do', () => {
  const start = fc.constantFrom('', 'e0', '0e', '00000000', '0000000001000000', '0000000002000000', '000000000300000001000000')
  fc.assert(
    fc.property(start, fc.nat(3), fc.uint8Array({ maxLength: 200 }), (head, count, rest) => {
      for (const read of [readNodesFile, readServerMet])
        for (const b of [rest, concatBytes(hexToBytes(head), new LeWriter().u32(count).done(), rest)])
          try {
            assert.ok(read(b).every(text => /^[0-9.]+:[0-9]+$/.test(text)))
          } catch (error) {
            assert.ok(error instanceof KithError && error.code.startsWith('BAD_'), String(error))
          }
    }),
    { numRuns: 500 }
  )
})
test('files are read from disk; one that is missing, too long or damaged is left out, and said', () => {
  const folder = mkdtempSync(join(tmpdir(), 'kith-nodes-'))
  try {
    const lines: string[] = []
    const log = createLogger(line => lines.push(line), 'warn')
    const [nodes, met, long] = ['nodes.dat', 'server.met', 'long'].map(name => join(folder, name)) as [string, string, string]
    writeFileSync(nodes, nodesFile(2, [node('8.8.8.8')]))
    writeFileSync(met, serverMet([{ host: '9.9.9.9', port: 4661 }]))
    writeFileSync(long, new Uint8Array(MAX_NETWORK_FILE_BYTES + 1))
    assert.deepEqual(readNetworkFiles({ nodesFile: nodes, serverMet: met }, log), { servers: ['9.9.9.9:4661'], nodes: ['8.8.8.8:4672'] })
    assert.deepEqual(readNetworkFiles({ nodesFile: undefined, serverMet: undefined }, log), { servers: [], nodes: [] })
    assert.equal(lines.length, 0)
    for (const path of [join(folder, 'missing'), long, met])
      assert.deepEqual(readNetworkFiles({ nodesFile: path, serverMet: undefined }, log).nodes, [])
    assert.equal(lines.length, 3)
    const kept = join(folder, 'kept')
    assert.deepEqual(loadKadNodes(kept), [])
    saveKadNodes(kept, ['8.8.8.8:4672', '10.0.0.1:4672', 'x'])
    assert.deepEqual(loadKadNodes(kept), ['8.8.8.8:4672'])
  } finally {
    rmSync(folder, { recursive: true })
  }
})
