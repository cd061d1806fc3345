/** Preloaded into a node (`node --import`): soon after its listeners for files over HTTP and HTTPS have opened, their ports are closed. */
import { Server } from 'node:http'
import { Server as SecureServer } from 'node:https'

for (const { prototype } of [Server, SecureServer]) {
  const listen = prototype.listen
  prototype.listen = function (this: Server, ...args: unknown[]) {
    const isForFiles = /src\/transfer\/http\//.test(new Error('who listens').stack ?? '')
    if (isForFiles) this.once('listening', () => setImmediate(() => this.close()))
    return Reflect.apply(listen, this, args)
  } as typeof listen
}
