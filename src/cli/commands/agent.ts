/** `kith agent`: programs that work for peers, and tasks for others. */
import { resolve } from 'node:path'
import type { NodeClient } from '../../api/node-client.ts'
import { KithError, textOf } from '../../base/errors.ts'
import type { AgentMessageView, AskRequest, SkillView, TaskView } from '../../node/ask-types.ts'
import { collect } from '../arguments.ts'
import type { Context, Register } from '../context.ts'
import { exitCodes } from '../exit-codes.ts'
import { follow } from '../follow.ts'
import { clean, cleanLines, formatBytes, parseCount, parseDuration } from '../format.ts'
import { openSession, readyOf } from '../session.ts'
import { readStdinText } from '../terminal-input.ts'

const EXAMPLES = `
Examples:
  kith agent serve --skill summarise --allow laptop -- python3 summarise.py
  kith agent ask server1 "the article is in the file" --file ./article.txt
  kith agent ask --skill summarise "…"          whoever has the skill
  kith agent tasks
A program gets the task as JSON on stdin and answers on stdout; lines "progress: 0.4 note" on stderr are shown to whoever asked.`

export const register: Register = (program, act) => {
  const agent = program.command('agent').description('let programs work for peers, and give tasks to others').addHelpText('after', EXAMPLES)
  agent
    .command('serve')
    .description('run a program for each task of a skill, until Ctrl-C')
    .requiredOption('--skill <name>', 'what it can do')
    .option('--description <text>', 'for those who look for it')
    .option('--allow <peer>', "who may ask, beside those who were granted it (repeatable; '*': everybody)", collect)
    .option('--concurrency <number>', 'tasks at once', '1')
    .option('--timeout <time>', 'longest run', '10m')
    .argument('<command...>', 'program and arguments, after --')
    .action(act(serve))
  agent.command('skills').description('what this node does for others now').action(act(skills))
  agent.command('stop').description('serve a skill no longer, wherever it was started').argument('<skill>').action(act(stop))
  agent
    .command('ask')
    .description('give a task to a peer, and wait for its result')
    .argument('<peer-or-text...>', "a peer and what it is about ('-': from stdin); only the text with --skill and no peer")
    .option('--skill <name>', 'what is needed; with a peer: which of its skills')
    .option('--input <json>', 'structured input beside the text')
    .option('--file <path>', 'a file for the worker (repeatable)', collect)
    .option('--deadline <time>', 'give up after this time')
    .option('--key <text>', 'the same key again is the same task: its result is given again, it is not run twice')
    .option('--detach', 'do not wait; kith agent tasks shows the result')
    .option('--wait <time>', 'how long to wait', '10m')
    .action(act(ask))
  agent.command('tasks').description('tasks given and received').argument('[id]', 'one of them, whole').action(act(tasks))
  agent
    .command('say')
    .description('say something to all agents that listen, or to one peer')
    .argument('<text>', 'an announcement; with --kind the members of that kind as JSON')
    .option('--kind <kind>', 'alliance_proposal, discussion, meme, status_update or announcement')
    .option('--topic <name>', 'say it to those who listen to this topic')
    .option('--to <peer>', 'say it to one peer')
    .action(act(say))
  agent.command('listen').description('show what agents say, until Ctrl-C').action(act(listen))
  agent.command('cancel').description('cancel a task').argument('<id>').action(act(cancel))
}

interface ServeOptions {
  readonly skill: string
  readonly description?: string
  readonly allow?: readonly string[]
  readonly concurrency: string
  readonly timeout: string
}

async function serve(context: Context, command: string[], options: ServeOptions): Promise<undefined> {
  await using session = await openSession(context, { resume: true })
  const { ask } = session.client
  const request = {
    name: options.skill,
    command,
    cwd: process.cwd(),
    concurrency: countOf(options.concurrency),
    timeoutMs: parseDuration(options.timeout),
    ...(options.description === undefined ? {} : { description: options.description }),
    ...(options.allow === undefined ? {} : { allow: options.allow })
  }
  checkSkill(options.skill)
  const skill = await ask.serveSkill(request, context.lifetime.signal)
  const events = await session.client.events({}, context.lifetime.signal)
  const self = await ask.self()
  const ready = { ...(await readyOf(session)), ...self, skill }
  context.output.result(ready, () => [
    `Serving ${clean(skill.name, 80)} as ${self.entityId}`,
    ...(options.allow === undefined ? ['Only peers that were granted it may ask: kith peer grant PEER task:SKILL, or --allow PEER.'] : []),
    'Press Ctrl-C to stop.'
  ])
  try {
    for await (const e of events) {
      if (e.type !== 'task:changed' || e.task.role !== 'received' || e.task.skill !== options.skill) continue
      context.output.event(e)
      context.output.note(taskLine(e.task))
    }
  } catch (error) {
    if (!context.lifetime.signal.aborted) throw error
  }
  if (!session.own) await ask.stopSkill(options.skill, AbortSignal.timeout(3_000))
  context.output.result({ stopped: true }, () => ['Stopped.'])
}

async function skills(context: Context): Promise<undefined> {
  await using session = await openSession(context, { serve: false })
  const views = await session.client.ask.skills(context.lifetime.signal)
  context.output.result(views, () => (views.length === 0 ? ['No skills are served.'] : views.map(skillLine)))
}

async function stop(context: Context, name: string): Promise<undefined> {
  await using session = await openSession(context, { serve: false })
  const view = await session.client.ask.stopSkill(name, context.lifetime.signal)
  context.output.result(view, () => [`Stopped: ${skillLine(view)}`])
}

const skillLine = (s: SkillView): string =>
  `${clean(s.name, 80)}  ${s.running} of ${s.concurrency} running  ${clean(s.command.join(' '), 200)}`

interface AskOptions {
  readonly skill?: string
  readonly input?: string
  readonly file?: readonly string[]
  readonly deadline?: string
  readonly key?: string
  readonly detach?: boolean
  readonly wait: string
}

const ENDS: ReadonlySet<string> = new Set(['COMPLETED', 'FAILED', 'CANCELLED', 'REFUSED'])

async function ask(context: Context, words: string[], options: AskOptions): Promise<number> {
  const request = await requestOf(words, options)
  await using session = await openSession(context, { serve: false })
  const { client } = session
  const given = await client.ask.ask(request, context.lifetime.signal)
  if (options.detach && !session.own) {
    context.output.result(given, () => [`Given: ${taskLine(given)}`, `  kith agent tasks ${given.id}`])
    return exitCodes.ok
  }
  const seen = { line: '' }
  const last = await follow(
    client,
    {
      read: () => client.ask.task(given.id),
      pick: e => (e.type === 'task:changed' && e.task.id === given.id ? e.task : undefined),
      isOver: t => ENDS.has(t.state) || (options.detach === true && t.state !== 'PENDING'),
      onChange: t => {
        context.output.event({ type: 'task:changed', task: t })
        const line = taskLine(t)
        if (line !== seen.line && !ENDS.has(t.state)) context.output.note(line)
        seen.line = line
      }
    },
    context.lifetime.signal,
    parseDuration(options.wait)
  )
  const whole = await withOutput(context, client, last)
  context.output.result(whole, () => describeTask(whole, session.own))
  if (context.lifetime.signal.aborted && !ENDS.has(last.state)) return exitCodes.interrupted
  return last.state === 'COMPLETED' || (options.detach === true && !ENDS.has(last.state)) ? exitCodes.ok : exitCodes.failed
}

/** With a result that was too large for a message, if it can be had now. */
async function withOutput({ output, lifetime }: Context, client: NodeClient, task: TaskView): Promise<TaskView> {
  if (task.state !== 'COMPLETED' || task.role !== 'given' || !task.file) return task
  try {
    return { ...task, ...(await client.ask.taskOutput(task.id, lifetime.signal)) }
  } catch (error) {
    output.note(`kith: its result was not fetched: ${clean(textOf(error), 200)}`)
    return task
  }
}

/** @throws USAGE */
function checkSkill(name: string): void {
  if (!/^[a-z0-9][a-z0-9._-]{0,63}$/.test(name))
    throw new KithError('USAGE', `a skill is named by lower-case letters, digits, dots and dashes, not "${clean(name, 60)}"`)
}

async function requestOf(words: string[], options: AskOptions): Promise<AskRequest> {
  if (words.length > 2) throw new KithError('USAGE', 'put the text into quotes: kith agent ask PEER "text"')
  const [first = '', second] = words
  if (second === undefined && options.skill === undefined)
    throw new KithError('USAGE', 'whom to ask? Give a peer and a text, or --skill and a text')
  if (options.skill !== undefined) checkSkill(options.skill)
  const text = second ?? first
  return {
    description: text === '-' ? await readStdinText() : text,
    ...(second === undefined ? {} : { to: first }),
    ...(options.skill === undefined ? {} : { skill: options.skill }),
    ...(options.input === undefined ? {} : { input: parseInput(options.input) }),
    ...(options.file === undefined ? {} : { files: options.file.map(f => resolve(f)) }),
    ...(options.deadline === undefined ? {} : { deadlineMs: parseDuration(options.deadline) }),
    ...(options.key === undefined ? {} : { idempotencyKey: options.key })
  }
}

function parseInput(text: string, what = '--input'): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new KithError('USAGE', `${what} is not JSON`, {}, { cause })
  }
}

async function tasks(context: Context, id: string | undefined): Promise<undefined> {
  await using session = await openSession(context, { serve: false })
  if (id !== undefined) {
    const view = await withOutput(context, session.client, await session.client.ask.task(id, context.lifetime.signal))
    context.output.result(view, () => describeTask(view, session.own))
    return
  }
  const views = await session.client.ask.tasks(context.lifetime.signal)
  context.output.result(views, () => (views.length === 0 ? ['No tasks.'] : views.map(taskLine)))
}

async function say(context: Context, text: string, options: { kind?: string; topic?: string; to?: string }): Promise<undefined> {
  const isText = options.kind === undefined || (options.kind === 'announcement' && !text.startsWith('{'))
  const data = isText ? { title: '', text } : (parseInput(text, 'the text') as Record<string, unknown>)
  await using session = await openSession(context, { serve: false })
  const { kind = 'announcement', topic, to } = options
  const request = { kind, data, ...(topic === undefined ? {} : { topic }), ...(to === undefined ? {} : { to }) }
  const said = await session.client.ask.say(request, context.lifetime.signal)
  const who =
    said.recipients === 0 ? 'Nobody who listens is connected now.' : `Handed to ${said.recipients} peer${said.recipients === 1 ? '' : 's'}.`
  context.output.result(said, () => [who])
}

async function listen(context: Context): Promise<undefined> {
  await using session = await openSession(context, { resume: true })
  const { signal } = context.lifetime
  const events = await session.client.events({}, signal)
  for (const m of [...(await session.client.ask.agentMessages(signal))].reverse()) context.output.result(m, () => [talkLine(m)])
  try {
    for await (const e of events) if (e.type === 'agent:message') context.output.result(e.message, () => [talkLine(e.message)])
  } catch (error) {
    if (!signal.aborted) throw error
  }
}

function talkLine(m: AgentMessageView): string {
  const who = clean(m.fromName ?? `…${m.from.slice(-8)}`, 60)
  const agent = m.agentId === m.from ? '' : ` (${clean(m.agentId, 60)})`
  const where = m.via === 'direct' ? ' to this node' : m.topic ? ` on ${clean(m.topic, 60)}` : ''
  return `${who}${agent}${where}: ${m.kind} ${clean(JSON.stringify(m.data), 500)}`
}

async function cancel(context: Context, id: string): Promise<undefined> {
  await using session = await openSession(context, { serve: false })
  const { ask } = session.client
  const { signal } = context.lifetime
  const before = await ask.task(id, signal)
  const view = ENDS.has(before.state) ? before : await ask.cancelTask(id, signal)
  context.output.result(view, () => [...(view === before ? ['It was over already:'] : []), taskLine(view)])
}

const countOf = (text: string): number => parseCount(text, 256)

/** One line: what, who, how far. */
export function taskLine(t: TaskView): string {
  const who = clean(t.peerName ?? `…${t.peer.slice(-8)}`, 60)
  const way = t.role === 'given' ? `to ${who}` : `from ${who}`
  const progress = t.state === 'IN_PROGRESS' && t.progress ? ` ${Math.round(t.progress * 100)}%` : ''
  const note = t.note && !ENDS.has(t.state) ? ` ${clean(t.note, 120)}` : ''
  const code = t.error && t.error.code !== t.state ? ` ${clean(t.error.code, 60)}` : ''
  const error = t.error ? `${code}: ${clean(t.error.message, 200)}` : ''
  return `${t.id.slice(0, 8)}  ${clean(t.skill, 40)} ${way}: ${t.state}${progress}${note}${error}`
}

/** A task with its result. */
export function describeTask(t: TaskView, own: boolean): string[] {
  if (t.state === 'COMPLETED' && t.output === undefined)
    return [
      taskLine(t),
      `  Its result does not fit a message: it is a file${t.file ? ` of ${formatBytes(t.file.size)}` : ''}.`,
      ...(t.file ? [`  kith get '${clean(t.file.link, 4096)}'`] : []),
      `  id ${t.id}`
    ]
  if (t.state === 'COMPLETED') return cleanLines(typeof t.output === 'string' ? t.output : JSON.stringify(t.output, undefined, 2))
  if (!ENDS.has(t.state))
    return [
      taskLine(t),
      own ? "It goes on when 'kith up' runs." : 'It goes on without you.',
      `  kith agent tasks ${t.id}  shows its result`,
      `  kith agent cancel ${t.id}  takes it back`
    ]
  const isUngranted = t.role === 'given' && t.error?.code === 'NOT_AUTHORISED'
  const grant = isUngranted
    ? [`  They allow it with: kith peer grant YOUR-ID task:${clean(t.skill, 60)}    (kith id show tells yours)`]
    : []
  return [taskLine(t), ...grant, `  id ${t.id}`]
}
