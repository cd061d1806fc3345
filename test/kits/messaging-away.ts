/**
 * Alice and Bob in one process that ends itself at a failpoint, where Bob cannot be reached (`isUp` false: a carrier takes what is for him and
 * writes it down) or refuses (`refuses`): `node messaging-away.ts '<settings as JSON>'`. What was carried is given to Bob by a run in which he is
 * there. Ends when every message has come to the end that is possible; prints the states.
 */
import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import { KithError } from '../../src/base/errors.ts'
import type { FailpointName } from '../../src/messaging/failpoints.ts'
import { MemoryNetwork, note } from './messaging.ts'
import { linesOf } from './messaging-pair.ts'

export interface AwaySettings {
  readonly folder: string
  readonly ids: readonly string[]
  readonly isUp: boolean
  readonly refuses?: boolean
  readonly failpoint?: FailpointName
}

const { folder, ids, isUp, refuses, failpoint: at } = JSON.parse(process.argv[2] ?? '{}') as AwaySettings
const failpoint = (name: FailpointName): void => {
  if (name === at) process.kill(process.pid, 'SIGKILL')
}
const carried = join(folder, 'carried')
const carrier = {
  carry: async (_: string, message: Uint8Array) => {
    appendFileSync(carried, `${Buffer.from(message).toString('hex')}\n`)
    return true
  }
}
const net = new MemoryNetwork()
net.isUp = isUp
const guard = {
  admit: (_: unknown, type?: string) => (refuses && type === 'agent_message' ? 'NOT_AUTHORISED' : undefined),
  report: () => {}
}
await using bob = await net.open(folder, 'bob', { guard })
bob.messenger.handle('agent_message', async m => appendFileSync(join(folder, 'effects'), `${m.id}\n`))
await using alice = await net.open(folder, 'alice', { carrier, failpoint })
if (isUp) for (const line of linesOf(carried)) await bob.messenger.receive(Buffer.from(line, 'hex'), { via: 'sealed' })
await Promise.all(ids.map(id => alice.messenger.send({ to: bob.id, type: 'agent_message', body: note('x'), id })))
alice.messenger.wake(bob.id)
const state = (id: string): string => alice.messenger.sent(id)?.state ?? ''
const isOver = (id: string): boolean => (isUp ? ['delivered', 'failed'] : ['relayed', 'delivered', 'failed']).includes(state(id))
const deadline = performance.now() + 30_000
while (!ids.every(isOver)) {
  if (performance.now() > deadline) throw new KithError('PEER_TIMEOUT', `in vain: ${ids.map(state)}`)
  await new Promise(resolve => setTimeout(resolve, 10))
}
console.log(JSON.stringify(Object.fromEntries(ids.map(id => [id, [state(id), alice.messenger.sent(id)?.reason?.code ?? null]]))))
