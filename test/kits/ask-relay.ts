/**
 * `node ask-relay.ts SOCKET PORT`: hands what comes to a socket in the file system on to a port of the loopback of the network namespace it
 * runs in, so that a test outside can reach the API of a node inside.
 */
import { connect, createServer } from 'node:net'

const [socket, port] = process.argv.slice(2)
createServer(outer => {
  const inner = connect(Number(port), '127.0.0.1')
  for (const [from, to] of [
    [outer, inner],
    [inner, outer]
  ] as const)
    from.on('error', () => to.destroy()).on('close', () => to.destroy())
  outer.pipe(inner).pipe(outer)
}).listen(socket, () => console.log('{"relay":true}'))
