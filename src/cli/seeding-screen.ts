/** What others take while a command seeds: a line in place on a terminal, and a line that stays when a file cannot be given any more. */
import type { NodeClient } from '../api/node-client.ts'
import type { NodeEvent, ShareView } from '../node/types.ts'
import type { Context } from './context.ts'
import { clean, formatBytes, formatRate } from './format.ts'
import { truncate } from './text-width.ts'

const TICK_MS = 1_000

type Sent = Pick<ShareView, 'fileId' | 'name' | 'uploadedBytes'>

/** Shows it until disposed. Nothing is printed on stdout: scripts see events of the API. */
export function showSeeding(context: Context, client: NodeClient): AsyncDisposable {
  const stop = new AbortController()
  const screen = context.output.screen()
  let names: ReadonlyMap<string, string> = new Map()
  let before: readonly Sent[] = []
  let isMoving = false
  const look = async (): Promise<void> => {
    const now: readonly Sent[] = await client.shares(stop.signal)
    names = new Map(now.map(s => [s.fileId, s.name]))
    const line = sentLine(before, now)
    // One tick after the last upload, for what came after its event.
    isMoving = line?.isMoving === true
    before = now
    if (screen && line) screen.draw(() => [truncate(line.text, screen.columns)], true)
  }
  const show = async (events: AsyncIterable<NodeEvent>): Promise<void> => {
    await look()
    for await (const event of events) {
      if (event.type === 'upload:progress') isMoving = true
      if (event.type !== 'share:stopped' || event.reason === 'unshared') continue
      screen?.clear()
      context.output.note(stoppedLine(names.get(event.fileId) ?? event.fileId, event.reason))
    }
  }
  // Without a stream there is no picture, but seeding goes on.
  const shown = client
    .events({}, stop.signal)
    .then(show)
    .catch(() => {})
  const ticks = setInterval(() => {
    if (isMoving) void look().catch(() => {})
  }, TICK_MS)
  return {
    [Symbol.asyncDispose]: async () => {
      clearInterval(ticks)
      stop.abort()
      await shown
      screen?.clear()
      screen?.[Symbol.dispose]()
    }
  }
}

/**
 * What was sent altogether, and since the last look, a second before. @returns undefined before anybody took anything
 */
export function sentLine(before: readonly Sent[], now: readonly Sent[]): { readonly text: string; readonly isMoving: boolean } | undefined {
  const known = new Map(before.map(s => [s.fileId, s.uploadedBytes]))
  const total = now.reduce((n, s) => n + s.uploadedBytes, 0)
  if (total === 0) return undefined
  const moved = now
    .map(s => ({ name: s.name, bytes: s.uploadedBytes - (known.get(s.fileId) ?? s.uploadedBytes) }))
    .filter(s => s.bytes > 0)
    .sort((a, b) => b.bytes - a.bytes)
  const rate = moved.reduce((n, s) => n + s.bytes, 0)
  const of = moved.length === 0 ? '' : `, ${formatRate(rate / (TICK_MS / 1000))}, ${clean(moved[0]!.name, 60)}`
  const more = moved.length > 1 ? ` and ${moved.length - 1} more` : ''
  return { text: `Sent ${formatBytes(total)} so far${of}${more}`, isMoving: moved.length > 0 }
}

/** A share that the node gave up, and what to do about it. */
export const stoppedLine = (name: string, reason: string): string =>
  `${clean(name, 200)} is not seeded any more: ${clean(reason, 200)}. Share it again for a link to what it is now.`
