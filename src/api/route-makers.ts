/** What a route is, and short ways to make one. The tables are routes.ts and ask-routes.ts. */
import type * as z from 'zod'
import type { Clock } from '../base/clock.ts'
import type { NodeClient } from './node-client.ts'
import { emptyQuery } from './schemas.ts'
import type { ShareJobs } from './share-jobs.ts'

export interface RouteDeps {
  readonly client: NodeClient
  readonly jobs: ShareJobs
  readonly clock: Pick<Clock, 'sleep'>
  /** Aborts when the server closes. */
  readonly signal: AbortSignal
  /** How many event streams are open; shared by all requests. */
  readonly streams: { open: number }
}

export interface Call<Q = unknown, B = unknown> {
  readonly id: string
  readonly query: Q
  readonly body: B
  /** Aborts when the client goes or the server closes. */
  readonly signal: AbortSignal
}

export interface Answer {
  readonly status: number
  readonly value?: unknown
  readonly stream?: ReadableStream<Uint8Array<ArrayBuffer>>
}

export interface Route {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** As OpenAPI writes it: `/v1/shares/{id}`. */
  readonly path: string
  readonly name: string
  readonly summary: string
  readonly query: z.ZodType
  /** Only POST has one. */
  readonly body: z.ZodType | undefined
  /** Status → what comes with it. The first is the usual one. */
  readonly answers: Readonly<Record<number, z.ZodType | undefined>>
  /** True for a body of NDJSON, each line as in `answers`. */
  readonly streams: boolean
  run(deps: RouteDeps, call: Call): Promise<Answer>
}

type Handler<Q, B> = (deps: RouteDeps, call: Call<Q, B>) => Promise<Answer>

export const ok = (value: unknown): Answer => ({ status: 200, value })

export function get(path: string, name: string, summary: string, answer: z.ZodType, run: Handler<unknown, unknown>): Route {
  return { method: 'GET', path, name, summary, query: emptyQuery, body: undefined, answers: { 200: answer }, streams: false, run }
}
export function post<B>(
  path: string,
  name: string,
  summary: string,
  body: z.ZodType<B>,
  answers: Route['answers'],
  run: Handler<unknown, B>
): Route {
  // The server has parsed the body with this very schema.
  const checked = (deps: RouteDeps, call: Call): Promise<Answer> => run(deps, call as Call<unknown, B>)
  return { method: 'POST', path, name, summary, query: emptyQuery, body, answers, streams: false, run: checked }
}
export function remove(path: string, name: string, summary: string, answer: z.ZodType, run: Handler<unknown, unknown>): Route {
  return { method: 'DELETE', path, name, summary, query: emptyQuery, body: undefined, answers: { 200: answer }, streams: false, run }
}

/** A GET with parameters. The server has parsed them with this very schema. */
export function getQuery<Q>(
  path: string,
  name: string,
  summary: string,
  query: z.ZodType<Q>,
  answer: z.ZodType,
  run: Handler<Q, unknown>
): Route {
  const checked = (deps: RouteDeps, call: Call): Promise<Answer> => run(deps, call as Call<Q>)
  return { method: 'GET', path, name, summary, query, body: undefined, answers: { 200: answer }, streams: false, run: checked }
}
