/** Nodes that send each other many texts: alone, in a network namespace, or on a small disk; and what became of the texts. */
import assert from 'node:assert/strict'
import { request } from 'node:http'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import type { TestContext } from 'node:test'
import { type ApiFile, readApiFile } from '../../src/api/api-file.node.ts'
import { createApiClient } from '../../src/api/client.ts'
import type { NodeClient } from '../../src/api/node-client.ts'
import type { MessageView } from '../../src/node/ask-types.ts'
import type { LinkEnd } from './bad-link.ts'
import type { Lab } from './lab.ts'
import { Process } from './process.ts'

export const CAMPAIGN: boolean = process.env['KITH_CAMPAIGN'] === '1'

export interface AskNode {
  readonly process: Process
  readonly api: NodeClient
  readonly entityId: string
  readonly address: string
}

/** `kith up` in a home; inside a namespace when an end of a link is given. */
export async function openNode(
  t: TestContext,
  lab: Lab,
  home: string,
  args: readonly string[] = [],
  end?: LinkEnd,
  env: Record<string, string> = {}
): Promise<AskNode> {
  const listen = end?.address ?? '127.0.0.1'
  const process = lab.start(home, ['up', '--json', '--port', '0', '--no-lan', '--listen', listen, ...args], undefined, env, end?.namespace)
  const ready = await process.line('ready')
  const file = readApiFile(join(lab.folder, home, 'state'))
  assert.ok(file)
  const api = end ? await reach(t, lab, file, end) : createApiClient({ fetch }, file)
  const { entityId } = await api.ask.self()
  const [address] = ready['addresses'] as string[]
  return { process, api, entityId, address: address! }
}

const RELAY = join(import.meta.dirname, 'ask-relay.ts')
let relays = 0

/** The API of a node in a namespace of its own: sockets in the file system are the same in all of them. */
async function reach(t: TestContext, lab: Lab, file: ApiFile, end: LinkEnd): Promise<NodeClient> {
  const socket = join(lab.folder, `${relays++}.sock`)
  const args = [process.execPath, RELAY, socket, new URL(file.url).port]
  const relay = new Process(`--net=${end.namespace}`, lab.folder, args, undefined, {}, 'nsenter')
  t.after(() => relay.destroy())
  await relay.line('relay')
  return createApiClient({ fetch: (input, init) => fetchOver(socket, new Request(input, init)) }, file)
}

async function fetchOver(socketPath: string, asked: Request): Promise<Response> {
  const body = Buffer.from(await asked.arrayBuffer())
  const { pathname, search, host } = new URL(asked.url)
  return await new Promise((resolve, reject) => {
    const options = { socketPath, path: pathname + search, method: asked.method, headers: { ...Object.fromEntries(asked.headers), host } }
    const sent = request(options, answer => {
      const headers = Object.entries(answer.headers).map(([name, value]): [string, string] => [name, String(value)])
      const status = answer.statusCode ?? 0
      const stream = Readable.toWeb(answer) as ReadableStream<Uint8Array>
      resolve(new Response(status === 204 ? null : stream, { status, headers }))
    })
    asked.signal.addEventListener('abort', () => sent.destroy(new Error('given up')), { once: true })
    sent.on('error', reject).end(body.length > 0 ? body : undefined)
  })
}

/** Asks seldom: the nodes need the processor more. */
export async function until(what: string, ready: () => Promise<boolean>, ms = 60_000, why?: () => Promise<string>): Promise<void> {
  const end = performance.now() + ms
  while (!(await ready())) {
    if (performance.now() > end) assert.fail(`not within ${ms} ms: ${what} ${(await why?.()) ?? ''}`)
    await new Promise(resolve => setTimeout(resolve, 100))
  }
}

/** So many texts, a few at a time; resolves when all are on the disk of the sender. */
export async function sendTexts(from: AskNode, to: string, texts: readonly string[]): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    for (let text = texts[next++]; text !== undefined; text = texts[next++]) await from.api.ask.send({ to, text })
  }
  await Promise.all(Array.from({ length: 8 }, worker))
}

export const numbered = (prefix: string, count: number): string[] => Array.from({ length: count }, (_, i) => `${prefix} ${i}`)

/** What came, newest first. */
export const received = async (node: AskNode): Promise<string[]> =>
  (await node.api.ask.messages({ direction: 'in', limit: 1000 })).flatMap(m => m.text ?? [])
export const sent = (node: AskNode): Promise<readonly MessageView[]> => node.api.ask.messages({ direction: 'out', limit: 1000 })

/** Waits until at least so many texts that begin like this have come. */
export const arrived = (node: AskNode, prefix: string, count: number, ms = 60_000): Promise<void> =>
  until(`${count} of ${prefix}`, async () => (await received(node)).filter(x => x.startsWith(prefix)).length >= count, ms)

/** Nothing lost, nothing twice, and the sender knows. */
export async function allArrivedOnce(from: AskNode, to: AskNode, texts: readonly string[], ms = 60_000): Promise<void> {
  await until('every text arrives', async () => isIncluded(texts, await received(to)), ms)
  const open = async (): Promise<readonly MessageView[]> => (await sent(from)).filter(m => m.state !== 'delivered')
  await until(
    'the sender knows of each',
    async () => (await open()).length === 0,
    60_000,
    async () => describe(await open())
  )
  const came = (await received(to)).filter(x => texts.includes(x))
  assert.deepEqual(came.toSorted(), texts.toSorted(), 'each text once')
  assert.ok(
    (await sent(to)).every(m => m.type !== 'error'),
    'no text was answered by an error'
  )
}

function isIncluded(some: readonly string[], all: readonly string[]): boolean {
  const set = new Set(all)
  return some.every(x => set.has(x))
}

/** How many are in which state, and why. */
function describe(messages: readonly MessageView[]): string {
  return JSON.stringify(
    Object.entries(Object.groupBy(messages, m => `${m.type} ${m.state} ${m.reason?.code ?? ''}`)).map(([k, v]) => [k, v?.length])
  )
}
