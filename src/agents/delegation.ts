/** Makes of what a caller asks for what goes to a worker: who may do it, what does not fit a message as a file, and where it has been. */
import { utf8 } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import type { EntityId } from '../messaging/types.ts'
import { looksLikeDid } from '../wire/did-key.ts'
import { canonicalJson, type Json } from '../wire/strict-json.ts'
import type { TasksDeps } from './deps.ts'
import {
  MAX_CANDIDATES,
  MAX_DEADLINE_MS,
  MAX_DESCRIPTION_CHARS,
  MAX_INLINE_BYTES,
  MAX_KEY_CHARS,
  MAX_PATH,
  MAX_TASK_FILES
} from './limits.ts'
import { isSkillName, type TaskRequest, valueBytes } from './payloads.ts'
import { rankWorkers } from './rank.ts'
import type { Delegation, TaskFile } from './types.ts'

/** What a task of the same key was given, and when (ms since 1970). */
export interface EarlierFiles {
  readonly files: readonly TaskFile[]
  readonly at: number
}

/** Times shorter than this are a mistake. */
const MIN_MS = 1

/** @throws BAD_TASK */
export function checkDelegation(d: Delegation): void {
  const bad = (what: string): KithError => new KithError('BAD_TASK', what)
  if (!isSkillName(d.skill)) throw bad('a skill is named by letters, digits and ._:/-')
  const text = d.description ?? ''
  if (text.length > MAX_DESCRIPTION_CHARS || !text.isWellFormed())
    throw bad(`a description has at most ${MAX_DESCRIPTION_CHARS} characters`)
  const key = d.idempotencyKey
  if (key !== undefined && (key === '' || key.length > MAX_KEY_CHARS || !key.isWellFormed()))
    throw bad(`an idempotency key has 1 to ${MAX_KEY_CHARS} characters`)
  if ((d.files?.length ?? 0) > MAX_TASK_FILES) throw bad(`a task has at most ${MAX_TASK_FILES} files`)
  for (const ms of [d.deadlineMs, d.attemptMs])
    if (ms !== undefined && !(ms >= MIN_MS && ms <= MAX_DEADLINE_MS)) throw bad('a time is out of range')
}

/** @throws BAD_TASK (no JSON), TOO_LARGE, or what sharing a file throws */
export async function prepareRequest(
  deps: TasksDeps,
  d: Delegation,
  idempotencyKey: string,
  earlier: EarlierFiles | undefined,
  signal?: AbortSignal
): Promise<TaskRequest> {
  const { input, inputFile } = await fitInput(deps, d.input, signal)
  // A file may not be shared any more, and would get another link, when the same task is asked for again.
  const known = (path: string): TaskFile | undefined => earlier?.files.find(f => deps.files?.isStill?.(path, f, earlier.at))
  const files = await Promise.all((d.files ?? []).map(f => (typeof f === 'string' ? (known(f) ?? share(deps, { path: f }, signal)) : f)))
  return { idempotencyKey, skill: d.skill, description: d.description ?? '', input, inputFile, files }
}

/** Who may be asked, best first. @throws BAD_ENTITY, NO_WORKER, TASK_LOOP */
export async function candidatesOf(deps: TasksDeps, d: Delegation, path: readonly EntityId[], signal?: AbortSignal): Promise<EntityId[]> {
  const named = d.to === undefined ? undefined : [...new Set(typeof d.to === 'string' ? [d.to] : d.to)]
  for (const id of named ?? []) if (!looksLikeDid(id)) throw new KithError('BAD_ENTITY', 'not the did:key of a peer', { length: id.length })
  const all = named ?? rankWorkers((await deps.finder?.find(d.skill, signal)) ?? [])
  if (all.length === 0) throw new KithError('NO_WORKER', `nobody was found who has the skill ${d.skill}`, { skill: d.skill })
  // `path` ends with this node, which does not give tasks to itself either.
  const free = all.filter(id => !path.includes(id)).slice(0, MAX_CANDIDATES)
  if (free.length === 0 || path.length >= MAX_PATH)
    throw new KithError('TASK_LOOP', 'the task would come to a node that it has been at, or be passed on too often')
  return free
}

async function fitInput(deps: TasksDeps, input: Json | undefined, signal?: AbortSignal): Promise<Pick<TaskRequest, 'input' | 'inputFile'>> {
  if (input === undefined) return { input: undefined, inputFile: undefined }
  let json: Uint8Array
  try {
    valueBytes(input, Number.POSITIVE_INFINITY)
    json = utf8(canonicalJson(input))
  } catch (cause) {
    throw new KithError('BAD_TASK', 'the input is not JSON, or nested too deeply', {}, { cause })
  }
  if (json.length <= MAX_INLINE_BYTES) return { input, inputFile: undefined }
  return { input: undefined, inputFile: await share(deps, { bytes: json, name: 'input.json' }, signal) }
}

async function share(
  deps: TasksDeps,
  content: Parameters<NonNullable<TasksDeps['files']>['putFile']>[0],
  signal?: AbortSignal
): Promise<TaskFile> {
  if (!deps.files) throw new KithError('TOO_LARGE', 'the input is too large for a message, and files cannot be sent')
  return deps.files.putFile(content, signal)
}
