/** A small HTTP proxy on loopback that writes down what it is asked. Whatever host a request names is found on 127.0.0.1. */
import { once } from 'node:events'
import { createServer, request } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'

export interface TestProxy extends AsyncDisposable {
  readonly port: number
  /** "GET http://host/path" and "CONNECT host:port", in the order they came. */
  readonly asked: readonly string[]
  /** Proxy-Authorization of each, or "". */
  readonly credentials: readonly string[]
}

/** @param credentials value of Proxy-Authorization that it insists on; others get 407 */
export async function openTestProxy(credentials?: string): Promise<TestProxy> {
  const asked: string[] = []
  const shown: string[] = []
  const sockets = new Set<Socket>()
  const keep = (socket: Socket): Socket => {
    sockets.add(socket.on('error', () => socket.destroy()).on('close', () => sockets.delete(socket)))
    return socket
  }
  const refused = (what: string, header: string | undefined): boolean => {
    asked.push(what)
    shown.push(header ?? '')
    return credentials !== undefined && header !== credentials
  }
  const server = createServer((req, res) => {
    if (refused(`${req.method} ${req.url}`, req.headers['proxy-authorization']))
      return void res.writeHead(407, { 'content-length': 0 }).end()
    const url = new URL(req.url!)
    const { 'proxy-authorization': _, ...headers } = req.headers
    const onward = request({ host: '127.0.0.1', port: url.port, path: url.pathname + url.search, headers, method: req.method }, answer => {
      res.writeHead(answer.statusCode!, answer.headers)
      answer.pipe(res)
    })
    onward.on('error', () => res.destroy()).end()
    res.on('close', () => onward.destroy())
  })
  server.on('connection', keep)
  server.on('connect', (req, client: Socket) => {
    if (refused(`CONNECT ${req.url}`, req.headers['proxy-authorization'])) return void client.end('HTTP/1.1 407 No\r\n\r\n')
    const onward = keep(connect(Number(/:([0-9]+)$/.exec(req.url!)![1]), '127.0.0.1'))
    onward.once('connect', () => client.write('HTTP/1.1 200 Connection established\r\n\r\n'))
    client.pipe(onward).pipe(client)
    client.on('close', () => onward.destroy())
    onward.on('close', () => client.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    asked,
    credentials: shown,
    [Symbol.asyncDispose]: async () => {
      server.close()
      for (const socket of sockets) socket.destroy()
      await once(server, 'close')
    }
  }
}
