/**
 * Spec 003's NetworkMonitor, measured: how many peers, how long messages take, what they weigh, which agents are where, how busy we are.
 * Numbers come from the messenger and the clock; what was not measured is null.
 */
import type { Clock } from '../base/clock.ts'
import { Latencies } from './latencies.ts'
import { MAX_CAPABILITY_NAMES } from './limits.ts'
import type { PeerStats } from './peer-figures.ts'
import type { Messenger } from './types.ts'

/** As spec 003 names them; plain enough for JSON. */
export interface NetworkMetrics {
  readonly connected_peers: number
  /** From sending to the acknowledgement that it is durable, of the last messages that were delivered; ms. */
  readonly message_latency: { readonly p50_ms: number | null; readonly p99_ms: number | null; readonly measured: number }
  /** Bytes of frames: in all, and in a second over the time since the last measurement. */
  readonly bandwidth_usage: {
    readonly in_bytes: number
    readonly out_bytes: number
    readonly in_bytes_per_second: number
    readonly out_bytes_per_second: number
  }
  /** Instances by capability, from what they have told. */
  readonly agent_distribution: Readonly<Record<string, number>>
  readonly network_load: {
    readonly messages_in_per_second: number
    readonly messages_out_per_second: number
    /** Messages that wait for peers. */
    readonly queued: number
    /** Sent again after a link ended, as a share of what was sent. */
    readonly resent_share: number
    /** Peers that were lost since the start. */
    readonly lost_peers: number
  }
  readonly measured_over_ms: number
}

export interface MonitorDeps {
  readonly clock: Pick<Clock, 'monotonic'>
  readonly messenger: Pick<Messenger, 'events'> & { stats(): readonly PeerStats[] }
  /** What each known instance can do. */
  capabilities(): Iterable<readonly string[]>
}

interface Totals {
  readonly bytesIn: number
  readonly bytesOut: number
  readonly received: number
  readonly sent: number
}

/** Below this two measurements are one: rates over less say nothing. */
const MIN_INTERVAL_MS = 1000

export class NetworkMonitor implements Disposable {
  readonly #deps: MonitorDeps
  readonly #stop = new AbortController()
  readonly #latencies = new Latencies()
  #measured = 0
  #lost = 0
  #last: Totals
  #lastAt: number
  #rates = { inBytes: 0, outBytes: 0, in: 0, out: 0, overMs: 0 }

  /** Measures until it is disposed. */
  constructor(deps: MonitorDeps) {
    this.#deps = deps
    this.#last = totalsOf(deps.messenger.stats())
    this.#lastAt = deps.clock.monotonic()
    const { events } = deps.messenger
    events.on('message:changed', ({ message }) => this.#changed(message.state === 'delivered', message), this.#stop.signal)
    events.on('peer:lost', () => void this.#lost++, this.#stop.signal)
  }

  collect(): NetworkMetrics {
    const stats = this.#deps.messenger.stats()
    const now = totalsOf(stats)
    this.#measure(now)
    const { inBytes, outBytes, in: received, out: sent, overMs } = this.#rates
    const resent = stats.reduce((n, p) => n + p.resent, 0)
    return {
      connected_peers: stats.filter(p => p.connected).length,
      message_latency: {
        p50_ms: this.#latencies.percentile(0.5) ?? null,
        p99_ms: this.#latencies.percentile(0.99) ?? null,
        measured: this.#measured
      },
      bandwidth_usage: {
        ...{ in_bytes: now.bytesIn, out_bytes: now.bytesOut },
        ...{ in_bytes_per_second: inBytes, out_bytes_per_second: outBytes }
      },
      agent_distribution: distribution(this.#deps.capabilities()),
      network_load: {
        ...{ messages_in_per_second: received, messages_out_per_second: sent },
        queued: stats.reduce((n, p) => n + p.queued, 0),
        resent_share: now.sent === 0 ? 0 : resent / now.sent,
        lost_peers: this.#lost
      },
      measured_over_ms: overMs
    }
  }

  [Symbol.dispose](): void {
    this.#stop.abort()
  }

  #changed(isDelivered: boolean, message: { readonly createdAt: number; readonly changedAt: number }): void {
    if (!isDelivered) return
    this.#measured++
    this.#latencies.add(Math.max(0, message.changedAt - message.createdAt))
  }

  #measure(now: Totals): void {
    const at = this.#deps.clock.monotonic()
    const overMs = at - this.#lastAt
    if (overMs < MIN_INTERVAL_MS) return
    // A peer whose figures were forgotten takes its bytes along.
    const rate = (key: keyof Totals): number => Math.round((Math.max(0, now[key] - this.#last[key]) * 1000) / overMs)
    this.#rates = {
      inBytes: rate('bytesIn'),
      outBytes: rate('bytesOut'),
      in: rate('received'),
      out: rate('sent'),
      overMs: Math.round(overMs)
    }
    this.#last = now
    this.#lastAt = at
  }
}

const totalsOf = (stats: readonly PeerStats[]): Totals => {
  const sum = (key: keyof Totals): number => stats.reduce((n, p) => n + p[key], 0)
  return { bytesIn: sum('bytesIn'), bytesOut: sum('bytesOut'), received: sum('received'), sent: sum('sent') }
}

function distribution(all: Iterable<readonly string[]>): Record<string, number> {
  const counts = new Map<string, number>()
  for (const capabilities of all) for (const c of new Set(capabilities)) counts.set(c, (counts.get(c) ?? 0) + 1)
  const most = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, MAX_CAPABILITY_NAMES)
  return Object.fromEntries(most) // defines members, so that a capability called __proto__ is one
}
