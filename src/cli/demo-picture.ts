/** What the demo shows: names instead of PeerIds, the download while it runs, and who brought what at the end. */
import { systemClock } from '../base/clock.ts'
import type { DownloadView, ReceiptView, SourceView } from '../node/types.ts'
import type { Say, Seeder, Stage } from './demo-stage.ts'
import { formatBytes, formatRate, formatWei } from './format.ts'
import { LiveScreen } from './live-screen.ts'
import { colourPalette, plainPalette, renderDownload } from './progress.ts'

/** The last line of `--json`. */
export interface Summary {
  readonly fileId: string
  readonly sha256Matches: boolean
  readonly bytes: number
  readonly ms: number
  readonly sources: readonly {
    readonly peer: string
    readonly protocol: string
    readonly chunks: number
    readonly bytes: number
    readonly paidWei: string
  }[]
  readonly killed: string | undefined
  readonly settlement: {
    readonly tx: string | undefined
    readonly payees: number
    readonly totalWei: string
    readonly gasUsed: string | undefined
  }
  readonly balancesMatch: boolean
}

export interface Facts extends Pick<Summary, 'sha256Matches' | 'killed' | 'balancesMatch' | 'ms'> {
  readonly receipts: readonly ReceiptView[]
}

const ARIA2 = 'aria2'

/** The seeder behind a source: by its PeerId, or by its protocol where it was met as a peer like any other. */
function seederOf(stage: Stage, { peer, protocol }: SourceView): Seeder | undefined {
  const known = stage.seeders.find(s => s.peerId.endsWith(peer.replace('…', '')))
  return known ?? (isAria2(stage, peer) ? undefined : stage.seeders.find(s => s.price === undefined && s.protocol === protocol))
}
const isAria2 = (stage: Stage, peer: string): boolean => stage.ariaPort !== undefined && peer.endsWith(`:${stage.ariaPort}`)

/** The view with one source for each participant and protocol, under the name that `nameOf` gives. */
function gather(stage: Stage, view: DownloadView, nameOf: (seeder: Seeder) => string): DownloadView {
  const sources = new Map<string, SourceView>()
  for (const source of view.sources) {
    const seeder = seederOf(stage, source)
    const peer = seeder ? nameOf(seeder) : isAria2(stage, source.peer) ? ARIA2 : source.peer
    const key = `${peer} ${source.protocol}`
    const before = sources.get(key)
    const now = view.finishedAt === undefined || source.badChunks > 0 ? source : ended(source)
    sources.set(key, before ? joined(before, now) : { ...now, peer })
  }
  const roles = [...stage.seeders.map(nameOf), ARIA2]
  return { ...view, sources: [...sources.values()].toSorted((a, b) => roles.indexOf(a.peer) - roles.indexOf(b.peer)) }
}

/** Connections that are closed because all is there were not lost on the way. */
const ended = (s: SourceView): SourceView => (s.state === 'dropped' ? { ...s, state: 'idle', note: undefined } : s)

/** Two connections to the same participant. */
function joined(a: SourceView, b: SourceView): SourceView {
  return {
    ...a,
    seeder: a.seeder ?? b.seeder,
    state: a.state === 'active' ? a.state : b.state,
    chunks: a.chunks + b.chunks,
    bytes: a.bytes + b.bytes,
    rate: a.rate + b.rate,
    badChunks: a.badChunks + b.badChunks
  }
}

/** Draws the download in place on a terminal, or says a line at every tenth. */
export class Picture implements Disposable {
  readonly #stage: Stage
  readonly #say: Say
  readonly #screen: LiveScreen | undefined
  readonly #palette = process.stderr.isTTY === true && process.stderr.hasColors() ? colourPalette : plainPalette
  #tenths = 0

  constructor(stage: Stage, say: Say, isQuiet: boolean) {
    this.#stage = stage
    this.#say = say
    this.#screen = isQuiet || process.stderr.isTTY !== true ? undefined : new LiveScreen(process.stderr, systemClock)
  }

  show(view: DownloadView, killed: string | undefined): void {
    const screen = this.#screen
    const shown = gather(this.#stage, view, s => s.name)
    const title = killed === undefined ? '' : `${killed} was killed (SIGKILL) half-way`
    screen?.draw(() => [...renderDownload(shown, screen.columns, this.#palette), title], view.finishedAt !== undefined)
    const tenths = Math.floor((10 * view.verifiedBytes) / (view.size ?? 1))
    if (screen || tenths <= this.#tenths) return
    this.#tenths = tenths
    const who = shown.sources.map(s => `${s.peer} ${formatBytes(s.bytes)}`)
    this.#say(`${String(10 * tenths).padStart(3)} %  ${formatRate(view.rate)}  ${who.join(', ')}`)
  }

  killed(name: string, part: number): void {
    if (!this.#screen) this.#say(`${name} is killed (SIGKILL) at ${Math.floor(100 * part)} %.`)
  }

  [Symbol.dispose](): void {
    this.#screen?.[Symbol.dispose]()
  }
}

export function summarise(stage: Stage, view: DownloadView, facts: Facts): Summary {
  const { sha256Matches, killed, balancesMatch, ms, receipts } = facts
  const paidTo = (seeder: string | undefined): string =>
    receipts
      .filter(r => r.counterparty === seeder)
      .reduce((n, r) => n + BigInt(r.amountWei), 0n)
      .toString()
  const s = view.settlement
  const { sources } = gather(stage, view, seeder => seeder.peerId)
  return {
    fileId: stage.share.fileId,
    sha256Matches,
    bytes: view.size ?? 0,
    ms,
    killed,
    balancesMatch,
    sources: sources
      .filter(x => x.bytes > 0)
      .map(({ peer, protocol, chunks, bytes, seeder }) => ({ peer, protocol, chunks, bytes, paidWei: paidTo(seeder) })),
    settlement: { tx: s?.tx, payees: s?.payees.length ?? 0, totalWei: s?.totalWei ?? '0', gasUsed: s?.gasUsed }
  }
}

/** The end of the story, for people. */
export function tell(stage: Stage, view: DownloadView, s: Summary, say: Say): void {
  say('')
  for (const source of s.sources) {
    const seeder = stage.seeders.find(x => x.peerId === source.peer)
    const who = (seeder?.name ?? source.peer).padEnd(6)
    const brought = `${String(source.chunks).padStart(5)} chunks ${formatBytes(source.bytes).padStart(9)}`
    const price = seeder ? (seeder.price === undefined ? 'free' : `${seeder.price} coin/MB`) : 'another program'
    const end = s.killed === source.peer ? '   (killed half-way)' : ''
    say(`  ${who} ${source.protocol.padEnd(10)} ${brought}  ${price.padEnd(15)} paid ${formatWei(source.paidWei)}${end}`)
  }
  const seconds = ((view.finishedAt ?? 0) - view.startedAt) / 1000
  const { tx, payees, totalWei, gasUsed } = s.settlement
  const verdict = s.sha256Matches ? 'right' : 'WRONG'
  const mark = (isRight: boolean): string => (isRight ? '✔' : '✘')
  say('')
  say(
    `${mark(s.sha256Matches)} SHA-256 of the ${formatBytes(s.bytes)} that arrived is ${verdict} (fetched, checked and paid in ${seconds.toFixed(1)} s)`
  )
  say(`${mark(tx !== undefined)} one transaction paid ${payees} seeders ${formatWei(totalWei)}: ${tx ?? 'none'} (${gasUsed ?? '?'} gas)`)
  say(`${mark(s.balancesMatch)} every balance on the chain rose by exactly what the signed receipts say`)
  say('')
  say('Next: share a file of your own with   npx kith share ./your-file')
}
