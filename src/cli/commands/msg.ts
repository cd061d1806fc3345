/** `kith msg`: texts to people and devices. */
import { resolve } from 'node:path'
import { KithError } from '../../base/errors.ts'
import type { Context, Register } from '../context.ts'
import { exitCodes } from '../exit-codes.ts'
import { followMessage } from '../follow.ts'
import { parseCount, parseDuration } from '../format.ts'
import { describeSent, linesOf, localTime, nameOf, wholeOf } from '../message-lines.ts'
import { openSession } from '../session.ts'
import { readStdinText } from '../terminal-input.ts'

const EXAMPLES = `
Examples:
  kith msg send laptop "the build is done"
  echo "a long text" | kith msg send did:key:z6Mk… -
  kith msg inbox --follow
A peer is a name you gave it (kith peer name), its did:key, PeerId, address with /p2p/, or the URL of its message server.
What cannot be delivered now waits on this disk for 7 days; 'kith up' sends it when the peer is back.`

/** How long `send` watches a message unless told otherwise. */
const SEND_WAIT = '10s'

export const register: Register = (program, act) => {
  const msg = program.command('msg').description('send texts to peers, and read what came').addHelpText('after', EXAMPLES)
  msg
    .command('send')
    .description('send a text; it waits on this disk until the peer has it')
    .argument('<peer>', 'whom to')
    .argument('[text]', "what to say; '-' reads it from stdin")
    .option('--file <path>', 'send a file too: it is shared encrypted, the message holds its link')
    .option('--wait <time>', 'how long to watch what becomes of it', SEND_WAIT)
    .option('--ttl <time>', 'how long it may wait, at most 7d')
    .action(act(send))
  msg
    .command('inbox')
    .description('what was received, newest last')
    .option('--follow', 'stay, and show what comes')
    .option('--limit <number>', 'how many', '50')
    .action(act(inbox))
  msg.command('show').description('one message, whole').argument('<id>', 'from inbox or outbox').action(act(show))
  msg
    .command('outbox')
    .description('what was sent and what became of it, newest last')
    .option('--limit <number>', 'how many', '50')
    .action(act(outbox))
  msg.command('cancel').description('take back a message that was not delivered').argument('<id>', 'from the outbox').action(act(cancel))
}

interface SendOptions {
  readonly wait: string
  readonly ttl?: string
  readonly file?: string
}

async function send(context: Context, to: string, given: string | undefined, options: SendOptions): Promise<number> {
  if (given === undefined && options.file === undefined) throw new KithError('USAGE', 'what to send? Give a text, - for stdin, or --file')
  const text = given === '-' ? await readStdinText() : (given ?? '')
  const file = options.file === undefined ? {} : { file: resolve(options.file) }
  const { signal } = context.lifetime
  await using session = await openSession(context, { serve: false })
  const { ask } = session.client
  const sent = await ask.send({ to, text, ...file, ...(options.ttl === undefined ? {} : { ttlMs: parseDuration(options.ttl) }) }, signal)
  const last = await followMessage(context, session, sent, options.wait)
  context.output.result(last, () => describeSent(last, session.own))
  return last.state === 'failed' ? exitCodes.network : exitCodes.ok
}

async function inbox(context: Context, options: { follow?: boolean; limit: string }): Promise<undefined> {
  await using session = await openSession(context, { serve: options.follow === true, resume: options.follow === true })
  const { client } = session
  const { signal } = context.lifetime
  const events = options.follow ? await client.events({}, signal) : undefined
  const messages = [...(await client.ask.messages({ direction: 'in', limit: limitOf(options.limit) }, signal))].reverse()
  if (events) context.output.note('Waiting for messages; Ctrl-C ends that.')
  if (events) for (const m of messages) context.output.result(m, () => linesOf(m))
  else context.output.result(messages, () => (messages.length === 0 ? ['No messages.'] : messages.flatMap(m => linesOf(m))))
  if (!events) return
  try {
    for await (const e of events) if (e.type === 'message:received') context.output.result(e.message, () => linesOf(e.message))
  } catch (error) {
    if (!signal.aborted) throw error
  }
}

async function show(context: Context, id: string): Promise<undefined> {
  await using session = await openSession(context, { serve: false })
  const m = await session.client.ask.message(id, context.lifetime.signal)
  context.output.result(m, () => wholeOf(m))
}

async function outbox(context: Context, options: { limit: string }): Promise<undefined> {
  await using session = await openSession(context, { serve: false })
  const messages = [
    ...(await session.client.ask.messages({ direction: 'out', limit: limitOf(options.limit) }, context.lifetime.signal))
  ].reverse()
  context.output.result(messages, () => (messages.length === 0 ? ['Nothing was sent.'] : messages.flatMap(m => linesOf(m))))
}

async function cancel(context: Context, id: string): Promise<undefined> {
  await using session = await openSession(context, { serve: false })
  const m = await session.client.ask.cancelMessage(id, context.lifetime.signal)
  context.output.result(m, () => [`Taken back: the message to ${nameOf(m)} of ${localTime(m.createdAt)}.`])
}

const limitOf = (text: string): number => parseCount(text, 1000)
