/** A small HTTP tracker for tests: compact answers, no limits, remembers who announced which torrent. */
import { createServer } from 'node:http'
import { bdict, encodeBencode } from '../../src/transfer/bittorrent/bencode.ts'

export interface TestTracker extends AsyncDisposable {
  readonly url: string
  /** "ip:port" of everybody who announced this torrent (hex) and has not left. */
  peersOf(infoHash: string): readonly string[]
}

/** Bytes of a percent-encoded query value; URLSearchParams would take them for UTF-8. */
function bytesOf(query: string, key: string): Buffer {
  const raw = new RegExp(`(?:^|&)${key}=([^&]*)`).exec(query)?.[1] ?? ''
  return Buffer.from(
    raw.replace(/%([0-9a-fA-F]{2})/g, (_, h: string) => String.fromCharCode(Number.parseInt(h, 16))),
    'latin1'
  )
}

export async function openTestTracker(host: string): Promise<TestTracker> {
  const swarms = new Map<string, Set<string>>()
  const server = createServer((request, response) => {
    const query = (request.url ?? '').split('?')[1] ?? ''
    const infoHash = bytesOf(query, 'info_hash').toString('hex')
    const ip = (request.socket.remoteAddress ?? '').replace('::ffff:', '')
    const me = `${ip}:${new URLSearchParams(query).get('port')}`
    const swarm = swarms.get(infoHash) ?? new Set<string>()
    swarms.set(infoHash, swarm)
    if (/event=stopped/.test(query)) swarm.delete(me)
    else swarm.add(me)
    const peers = Buffer.concat(
      [...swarm].map(p => {
        const [address = '', port = '0'] = p.split(':')
        return Buffer.from([...address.split('.').map(Number), Number(port) >> 8, Number(port) & 255])
      })
    )
    response.end(encodeBencode(bdict({ interval: 60, 'min interval': 5, peers })))
  })
  await new Promise<void>(resolve => server.listen(0, host, resolve))
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  return {
    url: `http://${host}:${port}/announce`,
    peersOf: hex => [...(swarms.get(hex) ?? [])],
    [Symbol.asyncDispose]: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
  }
}
