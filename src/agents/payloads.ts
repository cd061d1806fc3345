/**
 * Payloads of messages about tasks. Each also holds the `message_id` that messaging adds. Dates are UTC as in SecureMessage.
 *
 * | type          | members                                                                                                     |
 * | ------------- | ----------------------------------------------------------------------------------------------------------- |
 * | task_delegate | task_id, idempotency_key, skill, description, input? or input_file?, files?, priority, deadline, path       |
 * | task_progress | task_id, state (ASSIGNED or IN_PROGRESS), progress 0 to 1, note                                             |
 * | task_result   | task_id, giver, worker, skill, request_hash, state, output? or output_file?, error?, finished_at, signature |
 * | task_cancel   | task_id, offer?: message_id of the task_delegate that is taken back, reason                                 |
 * | task_refuse   | task_id, error_code, error_message                                                                          |
 *
 * A file is {link, name, size}. `path` names the nodes that passed the task on, the sender last. Spec 001, docs/agents.md.
 */
import { utf8 } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import type { EntityId } from '../messaging/types.ts'
import { looksLikeDid } from '../wire/did-key.ts'
import type { Priority } from '../wire/message-types.ts'
import {
  badPayload,
  entity,
  errorCode,
  hex,
  integer,
  list,
  member,
  number,
  object,
  optionalUuid,
  text,
  uuid,
  word
} from '../wire/payload-fields.ts'
import { canonicalJson, isJsonObject, type Json, type JsonObject } from '../wire/strict-json.ts'
import {
  MAX_DESCRIPTION_CHARS,
  MAX_ERROR_CHARS,
  MAX_FILE_LINK_CHARS,
  MAX_FILE_NAME_CHARS,
  MAX_INLINE_BYTES,
  MAX_KEY_CHARS,
  MAX_NOTE_CHARS,
  MAX_PATH,
  MAX_SKILL_CHARS,
  MAX_TASK_FILES,
  MAX_VALUE_DEPTH
} from './limits.ts'
import type { TaskError, TaskFile } from './types.ts'

const SKILL = /^[A-Za-z0-9](?:[A-Za-z0-9._:/-]*[A-Za-z0-9])?$/
const PRIORITIES: readonly Priority[] = ['high', 'normal', 'low']

export const isSkillName = (name: string): boolean => name.length <= MAX_SKILL_CHARS && SKILL.test(name)

/** What is asked for: the same on every attempt and with every candidate. */
export interface TaskRequest {
  readonly idempotencyKey: string
  readonly skill: string
  readonly description: string
  /** undefined: null, or in `inputFile`. */
  readonly input: Json | undefined
  readonly inputFile: TaskFile | undefined
  readonly files: readonly TaskFile[]
}

export interface TaskDelegate extends TaskRequest {
  readonly taskId: string
  readonly priority: Priority
  /** ms since 1970. */
  readonly deadline: number
  readonly path: readonly EntityId[]
}

export interface TaskProgress {
  readonly taskId: string
  readonly state: 'ASSIGNED' | 'IN_PROGRESS'
  readonly progress: number
  readonly note: string
}

export interface TaskOutcome {
  readonly taskId: string
  readonly giver: EntityId
  readonly worker: EntityId
  readonly skill: string
  /** SHA-256 of the canonical JSON of the request, as hex. */
  readonly requestHash: string
  readonly state: 'COMPLETED' | 'FAILED' | 'CANCELLED'
  readonly output: Json | undefined
  readonly outputFile: TaskFile | undefined
  readonly error: TaskError | undefined
  readonly finishedAt: number
}

/** The members of task_delegate that say what is asked for: the request hash is over them. */
export const requestBody = (r: TaskRequest): JsonObject => ({
  idempotency_key: r.idempotencyKey,
  skill: r.skill,
  description: r.description,
  ...(r.input === undefined ? {} : { input: r.input }),
  ...(r.inputFile ? { input_file: fileBody(r.inputFile) } : {}),
  ...(r.files.length > 0 ? { files: r.files.map(fileBody) } : {})
})

export const delegateBody = (d: TaskDelegate): JsonObject => ({
  ...requestBody(d),
  task_id: d.taskId,
  priority: d.priority,
  deadline: new Date(d.deadline).toISOString(),
  path: d.path
})

/** @throws BAD_PAYLOAD, TOO_LARGE */
export function readDelegate(o: JsonObject): TaskDelegate {
  const path = list(o, 'path', MAX_PATH)
  if (path.length === 0 || !path.every(p => typeof p === 'string' && looksLikeDid(p))) throw badPayload('path', 'a list of did:keys')
  return {
    taskId: uuid(o, 'task_id'),
    ...readRequest(o),
    priority: word(o, 'priority', PRIORITIES, 'normal'),
    deadline: date(o, 'deadline'),
    path: path as readonly EntityId[]
  }
}

/** @throws BAD_PAYLOAD, TOO_LARGE */
export function readRequest(o: JsonObject): TaskRequest {
  const skill = text(o, 'skill', MAX_SKILL_CHARS)
  if (!isSkillName(skill)) throw badPayload('skill', 'letters, digits and ._:/-')
  const idempotencyKey = text(o, 'idempotency_key', MAX_KEY_CHARS)
  if (idempotencyKey === '') throw badPayload('idempotency_key', 'text')
  const inputFile = fileOf(o, 'input_file')
  const input = member(o, 'input')
  if (input !== undefined && inputFile) throw badPayload('input', 'absent beside input_file')
  if (input !== undefined) valueBytes(input)
  return {
    idempotencyKey,
    skill,
    description: text(o, 'description', MAX_DESCRIPTION_CHARS, ''),
    input,
    inputFile,
    files: list(o, 'files', MAX_TASK_FILES).map(readFile)
  }
}

export const progressBody = (p: TaskProgress): JsonObject => ({ task_id: p.taskId, state: p.state, progress: p.progress, note: p.note })

/** @throws BAD_PAYLOAD */
export const readProgress = (o: JsonObject): TaskProgress => ({
  taskId: uuid(o, 'task_id'),
  state: word(o, 'state', ['ASSIGNED', 'IN_PROGRESS'], 'IN_PROGRESS'),
  progress: number(o, 'progress', 0, 1, 0),
  note: text(o, 'note', MAX_NOTE_CHARS, '')
})

/** Without signature: what is signed. */
export const outcomeBody = (r: TaskOutcome): JsonObject => ({
  task_id: r.taskId,
  giver: r.giver,
  worker: r.worker,
  skill: r.skill,
  request_hash: r.requestHash,
  state: r.state,
  ...(r.output === undefined ? {} : { output: r.output }),
  ...(r.outputFile ? { output_file: fileBody(r.outputFile) } : {}),
  ...(r.error ? { error: { code: r.error.code, message: r.error.message } } : {}),
  finished_at: new Date(r.finishedAt).toISOString()
})

/** Says nothing about the signature (result-signature.ts). @throws BAD_PAYLOAD, TOO_LARGE */
export function readOutcome(o: JsonObject): TaskOutcome {
  const output = member(o, 'output')
  if (output !== undefined) valueBytes(output)
  const error = object(o, 'error')
  const state = word(o, 'state', ['COMPLETED', 'FAILED', 'CANCELLED'])
  if (state !== 'COMPLETED' && !error) throw badPayload('error', 'present when a task was not completed')
  return {
    taskId: uuid(o, 'task_id'),
    giver: entity(o, 'giver'),
    worker: entity(o, 'worker'),
    skill: text(o, 'skill', MAX_SKILL_CHARS),
    requestHash: hex(o, 'request_hash', 32),
    state,
    output,
    outputFile: fileOf(o, 'output_file'),
    error: error && readError(error, 'code', 'message'),
    finishedAt: date(o, 'finished_at')
  }
}

export const cancelBody = (taskId: string, offer: string, reason: string): JsonObject => ({ task_id: taskId, offer, reason })

/** @throws BAD_PAYLOAD */
export const readCancel = (o: JsonObject): { readonly taskId: string; readonly offer: string | undefined; readonly reason: string } => ({
  taskId: uuid(o, 'task_id'),
  offer: optionalUuid(o, 'offer'),
  reason: text(o, 'reason', MAX_NOTE_CHARS, '')
})

export const refuseBody = (taskId: string, e: TaskError): JsonObject => ({ task_id: taskId, error_code: e.code, error_message: e.message })

/** @throws BAD_PAYLOAD */
export const readRefuse = (o: JsonObject): { readonly taskId: string; readonly error: TaskError } => ({
  taskId: uuid(o, 'task_id'),
  error: readError(o, 'error_code', 'error_message')
})

/** A code and a text of a peer: the code is a word, the text is only shown. @throws BAD_PAYLOAD */
export function readError(o: JsonObject, codeField: string, messageField: string): TaskError {
  return { code: errorCode(o, codeField), message: text(o, messageField, MAX_ERROR_CHARS, '') }
}

/** Bytes of a value as canonical JSON. @throws BAD_PAYLOAD (no JSON, too deep), TOO_LARGE */
export function valueBytes(value: Json, maxBytes: number = MAX_INLINE_BYTES): number {
  if (depthOf(value) > MAX_VALUE_DEPTH) throw badPayload('a value', `at most ${MAX_VALUE_DEPTH} levels deep`)
  let json: string
  try {
    json = canonicalJson(value)
  } catch (cause) {
    throw new KithError('BAD_PAYLOAD', 'a value cannot be written as JSON', {}, { cause })
  }
  const bytes = utf8(json).length
  if (bytes > maxBytes) throw new KithError('TOO_LARGE', 'a value is too large to be sent inside a message', { bytes, maxBytes })
  return bytes
}

/** Levels of arrays and objects; stops looking when there are too many. */
function depthOf(value: Json, left: number = MAX_VALUE_DEPTH + 1): number {
  if (typeof value !== 'object' || value === null || left === 0) return 0
  let deepest = 0
  for (const v of Object.values(value) as Json[]) deepest = Math.max(deepest, depthOf(v, left - 1))
  return deepest + 1
}

const fileBody = (f: TaskFile): JsonObject => ({ link: f.link, name: f.name, size: f.size })

function fileOf(o: JsonObject, field: string): TaskFile | undefined {
  const value = member(o, field)
  return value === undefined ? undefined : readFile(value)
}

/** @throws BAD_PAYLOAD */
export function readFile(value: Json): TaskFile {
  if (!isJsonObject(value)) throw badPayload('a file', 'an object')
  const link = text(value, 'link', MAX_FILE_LINK_CHARS)
  if (link === '') throw badPayload('link', 'text')
  return { link, name: text(value, 'name', MAX_FILE_NAME_CHARS, ''), size: integer(value, 'size', 0, Number.MAX_SAFE_INTEGER) }
}

/** `YYYY-MM-DDTHH:MM:SS(.mmm)Z` as ms since 1970. @throws BAD_PAYLOAD */
function date(o: JsonObject, field: string): number {
  const value = text(o, field, 24)
  const ms = Date.parse(value)
  const isDate = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3})?Z$/.test(value) && Number.isFinite(ms)
  // Date.parse takes 30 February for 1 March.
  if (!isDate || new Date(ms).toISOString().slice(0, 19) !== value.slice(0, 19)) throw badPayload(field, 'a date in UTC')
  return ms
}
