/**
 * Two messengers in one process that ends itself at a failpoint: `node messaging-pair.ts '<settings as JSON>'`. Run again with the same folder
 * it goes on where it was killed. What was done is in files beside the databases, one line for each; prints one JSON line at the end.
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { KithError } from '../../src/base/errors.ts'
import type { FailpointName, PlantedBug } from '../../src/messaging/failpoints.ts'
import type { OpenMessenger } from '../../src/messaging/messenger.ts'
import { canonicalJson } from '../../src/wire/strict-json.ts'
import { MemoryNetwork, note } from './messaging.ts'

export interface PairSettings {
  readonly folder: string
  /** Ids of messages from alice to bob. The kind of each is in its last digit: see `bodyOf`. */
  readonly ids: readonly string[]
  readonly failpoint?: { readonly name: FailpointName; readonly n: number }
  readonly plantedBug?: PlantedBug
}

/** Lines of a file that may not be there. */
export const linesOf = (path: string): string[] => (existsSync(path) ? readFileSync(path, 'utf8').split('\n').filter(Boolean) : [])

/** A body that is sent in chunks for some ids, and one that its handler does not like for others. */
const isLarge = (id: string): boolean => id.endsWith('c')
export const isDisliked = (id: string): boolean => id.endsWith('d')
const bodyOf = (id: string): ReturnType<typeof note> => note(isLarge(id) ? 'x'.repeat(300_000) : isDisliked(id) ? 'no' : 'y'.repeat(100))

const QUIET_MS = 2000

/** Ids in the inbox of which a handler has not been heard of: it has to run again. */
export function undone(path: string): Set<string> {
  if (!existsSync(path)) return new Set()
  const db = new DatabaseSync(path)
  const rows = db.prepare('SELECT id FROM inbox WHERE done = 0').all() as { id: Uint8Array }[]
  db.close()
  return new Set(rows.map(r => Buffer.from(r.id).toString('hex')))
}

/** Acts on messages, and writes down when it was asked to for no reason. */
function act(bob: OpenMessenger, folder: string): void {
  const effects = join(folder, 'effects')
  const pending = undone(join(folder, 'bob', 'messages.db'))
  const known = new Set(linesOf(effects))
  bob.handle('agent_message', async ({ id, body }) => {
    if (canonicalJson(body) !== canonicalJson(bodyOf(id))) appendFileSync(join(folder, 'wrong'), `${id}\n`)
    // After a crash between the handler and its mark it runs again; at no other time.
    if (!known.has(id)) appendFileSync(effects, `${id}\n`)
    else if (!pending.has(id.replaceAll('-', ''))) appendFileSync(join(folder, 'again'), `${id}\n`)
    known.add(id)
    if (isDisliked(id)) throw new KithError('NOT_AUTHORISED', 'not for you')
  })
}

if (import.meta.main) await run(JSON.parse(process.argv[2] ?? '{}') as PairSettings)

async function run({ folder, ids, failpoint: at, plantedBug }: PairSettings): Promise<void> {
  let reached = 0
  const failpoint = (name: FailpointName): void => {
    if (name === at?.name && ++reached === at.n) process.kill(process.pid, 'SIGKILL')
  }
  const net = new MemoryNetwork()
  const options = { failpoint, ...(plantedBug && { plantedBug }) }
  await using bob = await net.open(folder, 'bob', options)
  act(bob.messenger, folder)
  await using alice = await net.open(folder, 'alice', options)
  alice.messenger.handle('error', async ({ body }) => appendFileSync(join(folder, 'errors'), `${body['original_message_id']}\n`))
  const ends = join(folder, 'delivered')
  alice.messenger.events.on('message:changed', ({ message: m }) => {
    if (m.state === 'delivered') appendFileSync(ends, `${m.id}\n`)
  })
  await Promise.all(ids.map(id => alice.messenger.send({ to: bob.id, type: 'agent_message', body: bodyOf(id), id })))
  // A planted bug loses messages: then it is over when nothing more happens.
  let seen = 0
  let quietSince = performance.now()
  const isQuiet = (): boolean => {
    const effects = linesOf(join(folder, 'effects')).length
    if (effects !== seen) quietSince = performance.now()
    seen = effects
    return performance.now() - quietSince > QUIET_MS
  }
  const isOver = (): boolean => {
    if (plantedBug && isQuiet() && ids.every(id => alice.messenger.sent(id)?.state === 'delivered')) return true
    const errors = new Set(linesOf(join(folder, 'errors')))
    return ids.every(id => alice.messenger.sent(id)?.state === 'delivered' && (!isDisliked(id) || errors.has(id)))
  }
  while (!isOver()) await new Promise(resolve => setTimeout(resolve, 10))
  console.log(JSON.stringify({ delivered: ids.length, reached }))
}
