/** The routes as a web-standard handler: reads and checks bodies, answers JSON, turns errors into problem documents. */
import { Hono } from 'hono'
import type * as z from 'zod'
import { concatBytes, fromUtf8 } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { MAX_BODY_BYTES } from './limits.ts'
import { type Problem, problem, problemOf } from './problem.ts'
import type { Answer, Route, RouteDeps } from './route-makers.ts'
import { routes } from './routes.ts'
import { idText } from './schemas.ts'

export interface AppDeps extends RouteDeps {
  readonly log: Logger
  /** The OpenAPI document, made when it is first asked for. */
  readonly document: () => Promise<Record<string, unknown>>
}

/** Expects that a `Guard` has already checked the head of each request. */
export function createApp(deps: AppDeps): Hono {
  const app = new Hono()
  app.get('/v1/openapi.json', async () => json(200, await deps.document()))
  for (const route of routes) {
    app.on(route.method, route.path.replace(/\{(\w+)\}/g, ':$1'), async c => {
      const signal = AbortSignal.any([deps.signal, c.req.raw.signal])
      const id = c.req.param('id') === undefined ? '' : parse(idText, c.req.param('id'), 'id')
      const query = parse(route.query, queryOf(c.req.url), 'query')
      const body = route.body ? parse(route.body, await readJson(c.req.raw), 'body') : undefined
      return reply(await route.run(deps, { id, query, body, signal }))
    })
  }
  app.notFound(c => missing(c.req.path))
  app.onError((error, c) => {
    const p = problemOf(error)
    if (p.status >= 500) deps.log.warn('request failed', { method: c.req.method, code: p.code, cause: error })
    return problemResponse(p)
  })
  return app
}

/** JSON of a problem. */
export function problemResponse(p: Problem, extra: Readonly<Record<string, string>> = {}): Response {
  const headers = { 'Content-Type': 'application/problem+json', ...SAFE, ...extra }
  return new Response(JSON.stringify(p, wellFormed), { status: p.status, headers })
}

function missing(path: string): Response {
  const methods = routes.filter(r => matches(r, path)).map(r => r.method)
  if (methods.length === 0) return problemResponse(problem(404, 'UNKNOWN_ROUTE', 'there is no such path', 'see /v1/openapi.json'))
  return problemResponse(problem(405, 'METHOD_NOT_ALLOWED', 'not with this method'), { Allow: methods.join(', ') })
}

const matches = (route: Route, path: string): boolean => new RegExp(`^${route.path.replace(/\{\w+\}/g, '[^/]+')}$`).test(path)

/** No cache keeps, no page frames or embeds, no sniffer guesses. */
const SAFE: Readonly<Record<string, string>> = {
  'Cache-Control': 'no-store',
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff'
}

function reply(answer: Answer): Response {
  if (answer.stream) return new Response(answer.stream, { headers: { 'Content-Type': 'application/x-ndjson', ...SAFE } })
  return answer.value === undefined ? new Response(null, { status: answer.status, headers: SAFE }) : json(answer.status, answer.value)
}

const json = (status: number, value: unknown): Response =>
  new Response(JSON.stringify(value, wellFormed), { status, headers: { 'Content-Type': 'application/json', ...SAFE } })

/** Names come from peers: a lone surrogate has no UTF-8 form. */
const wellFormed = (_: string, v: unknown): unknown => (typeof v === 'string' ? v.toWellFormed() : v)

/** A parameter given twice is refused as if it were unknown: which one counts would be a guess. */
function queryOf(url: string): Record<string, string> {
  const out: Record<string, string> = {}
  for (const [k, v] of new URL(url).searchParams) out[Object.hasOwn(out, k) ? `${k}[]` : k] = v
  return out
}

function parse<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const issue = result.error.issues[0]
  const at = issue?.path.join('.')
  throw new KithError(
    'BAD_REQUEST',
    `${what}${at ? ` field ${at}` : ''}: ${issue?.message ?? 'not valid'}`.slice(0, 300),
    {},
    { hint: 'see /v1/openapi.json' }
  )
}

/** At most MAX_BODY_BYTES of strict UTF-8 JSON; nothing at all counts as `{}`. @throws API_BODY_TOO_LARGE, BAD_REQUEST */
async function readJson(request: Request): Promise<unknown> {
  const parts: Uint8Array[] = []
  let size = 0
  for await (const part of request.body ?? []) {
    size += part.length
    if (size > MAX_BODY_BYTES) throw new KithError('API_BODY_TOO_LARGE', 'the body is above 12 MiB', { max: MAX_BODY_BYTES })
    parts.push(part)
  }
  if (size === 0) return {}
  try {
    return JSON.parse(fromUtf8(concatBytes(...parts)))
  } catch (cause) {
    throw new KithError('BAD_REQUEST', 'the body is not JSON', {}, { cause })
  }
}
