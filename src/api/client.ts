/** The NodeClient over HTTP, for the CLI and for browsers of the same origin. Answers are trusted: they come from the user's own node. */
import { KithError, textOf } from '../base/errors.ts'
import type { DownloadView, GetRequest, NodeEvent, ShareRequest, ShareView } from '../node/types.ts'
import { createAskClient } from './ask-client.ts'
import { MAX_EVENT_LINE_CHARS } from './limits.ts'
import type { CreateWalletRequest, NodeClient, SendRequest } from './node-client.ts'
import type { Problem } from './problem.ts'

export interface ApiClientDeps {
  readonly fetch: typeof fetch
}

export interface ApiClientOptions {
  /** `http://127.0.0.1:PORT` */
  readonly url: string
  readonly token: string
}

type Method = 'GET' | 'POST' | 'DELETE'

/** Every method throws NODE_UNREACHABLE, API_TIMEOUT, API_ANSWER, and the code that the node answered. */
export function createApiClient(deps: ApiClientDeps, options: ApiClientOptions): NodeClient {
  const send = async (method: Method, path: string, body: unknown, signal?: AbortSignal): Promise<Response> => {
    const headers: Record<string, string> = { Authorization: `Bearer ${options.token}` }
    if (body !== undefined) headers['Content-Type'] = 'application/json'
    const init = {
      method,
      headers,
      redirect: 'error' as const,
      signal: signal ?? null,
      ...(body === undefined ? {} : { body: JSON.stringify(body) })
    }
    let response: Response
    try {
      response = await deps.fetch(options.url + path, init)
    } catch (error) {
      throw unreachable(error, signal)
    }
    if (response.ok) return response
    throw await errorOf(response)
  }
  // The routes and the views are of one version of the program; `T` is what the route table says.
  const call = async <T>(method: Method, path: string, body?: unknown, signal?: AbortSignal): Promise<T> => {
    const response = await send(method, path, body, signal)
    return (await readJson(response, signal)) as T
  }
  const id = (text: string): string => encodeURIComponent(text)
  return {
    info: signal => call('GET', '/v1/info', undefined, signal),
    status: signal => call('GET', '/v1/status', undefined, signal),
    events: async (filter, signal) => {
      const query = filter.download === undefined ? '' : `?download=${id(filter.download)}`
      return readEvents(await send('GET', `/v1/events${query}`, undefined, signal), signal)
    },
    shares: signal => call('GET', '/v1/shares', undefined, signal),
    share: async (request: ShareRequest, signal) => {
      for (;;) {
        const response = await send('POST', '/v1/shares', request, signal)
        const view = (await readJson(response, signal)) as ShareView
        if (response.status !== 202) return view
      }
    },
    inspect: (address, signal) => call('POST', '/v1/inspect', { address }, signal),
    unshare: (text, signal) => call('DELETE', `/v1/shares/${id(text)}`, undefined, signal),
    torrents: signal => call('GET', '/v1/torrents', undefined, signal),
    dropTorrent: (text, signal) => call('DELETE', `/v1/torrents/${id(text)}`, undefined, signal),
    downloads: signal => call('GET', '/v1/downloads', undefined, signal),
    get: (request: GetRequest, signal) => call('POST', '/v1/downloads', request, signal),
    download: (text, signal) => call<DownloadView>('GET', `/v1/downloads/${id(text)}`, undefined, signal),
    cancel: (text, signal) => call('DELETE', `/v1/downloads/${id(text)}`, undefined, signal),
    wallet: signal => call('GET', '/v1/wallet', undefined, signal),
    createWallet: (request: CreateWalletRequest, signal) => call('POST', '/v1/wallet', request, signal),
    send: (request: SendRequest, signal) => call('POST', '/v1/wallet/send', request, signal),
    receipts: signal => call('GET', '/v1/receipts', undefined, signal),
    proof: (text, signal) => call('GET', `/v1/receipts/${id(text)}/proof`, undefined, signal),
    ask: createAskClient(call),
    settle: signal => call('POST', '/v1/settle', {}, signal),
    stop: async signal => {
      const response = await send('POST', '/v1/stop', {}, signal)
      await response.body?.cancel()
    }
  }
}

async function readJson(response: Response, signal?: AbortSignal): Promise<unknown> {
  let text: string
  try {
    text = await response.text()
  } catch (error) {
    throw unreachable(error, signal)
  }
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new KithError('API_ANSWER', 'the node answered something that is not JSON', { status: response.status }, { cause })
  }
}

async function errorOf(response: Response): Promise<KithError> {
  const p = (await readJson(response)) as Partial<Problem> | null
  if (typeof p?.code !== 'string' || typeof p.detail !== 'string') {
    return new KithError('API_ANSWER', 'the node answered something that is not of this API', { status: response.status })
  }
  const hint = typeof p.hint === 'string' ? { hint: textOf(p.hint) } : {}
  return new KithError(p.code, textOf(p.detail), { status: response.status }, hint)
}

function unreachable(error: unknown, signal?: AbortSignal): unknown {
  if (signal?.aborted) return signal.reason
  const cause = (error as { cause?: { code?: unknown } }).cause
  if (cause?.code === 'UND_ERR_HEADERS_TIMEOUT' || cause?.code === 'UND_ERR_BODY_TIMEOUT') {
    return new KithError(
      'API_TIMEOUT',
      'the node took too long to answer',
      {},
      { cause: error, hint: 'kith status shows whether it still does it' }
    )
  }
  return new KithError(
    'NODE_UNREACHABLE',
    'the node does not answer',
    {},
    { cause: error, hint: 'kith status shows whether it still runs' }
  )
}

/** Ends quietly when the node or the signal ends the stream. */
async function* readEvents(response: Response, signal: AbortSignal): AsyncGenerator<NodeEvent> {
  const decoder = new TextDecoder()
  let rest = ''
  try {
    for await (const part of response.body ?? []) {
      rest += decoder.decode(part, { stream: true })
      if (rest.length > MAX_EVENT_LINE_CHARS) throw new KithError('API_ANSWER', 'a line of the event stream is too long')
      const lines = rest.split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) if (line !== '') yield parseEvent(line)
    }
  } catch (error) {
    if (error instanceof KithError) throw error
    if (!signal.aborted) throw unreachable(error)
  }
}

function parseEvent(line: string): NodeEvent {
  try {
    return JSON.parse(line) as NodeEvent
  } catch (cause) {
    throw new KithError('API_ANSWER', 'a line of the event stream is not JSON', {}, { cause })
  }
}
