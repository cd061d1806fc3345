/** Answers the questions of other nodes out of what we know. Pure. */
import { equalBytes } from '../../base/bytes.ts'
import type { NamedScope } from '../ed2k/server-scope.ts'
import { isNear } from './kad-id.ts'
import { MAX_ANSWERED_SOURCES, MAX_CONTACTS_PER_ANSWER, MAX_FIRST_CONTACTS, MAX_SENT_BYTES } from './limits.ts'
import { type Contact, encodeKad, KAD_VERSION, type KadMessage, type Result } from './messages.ts'
import type { SourceStore } from './source-store.ts'
import { type KeptSource, keptSource, resultOf } from './sources.ts'
import type { KadTable } from './table.ts'

type Asked<K extends KadMessage['kind']> = Extract<KadMessage, { kind: K }>
interface Address {
  readonly host: string
  readonly port: number
}

export interface ResponderDeps {
  readonly table: KadTable
  readonly store: SourceStore
  readonly scope: NamedScope
  readonly tcpPort: number
  /** Distance is not looked at. */
  readonly anyDistance: boolean
  /** Flags of our hello. */
  readonly flags: () => number
  /** Us, as this asker can reach us, when we publish the file. */
  readonly own: (target: Uint8Array, asker: Address) => KeptSource | undefined
  /** Something was kept. */
  readonly kept: (target: Uint8Array, source: KeptSource) => void
}

export class Responder {
  readonly #deps: ResponderDeps

  constructor(deps: ResponderDeps) {
    this.#deps = deps
  }

  /** What we say of ourselves. */
  get self(): { readonly id: Uint8Array; readonly tcpPort: number; readonly version: number } {
    return { id: this.#deps.table.ownId, tcpPort: this.#deps.tcpPort, version: KAD_VERSION }
  }

  first(from: Address): KadMessage {
    const contacts = this.#contacts(this.#deps.table.ownId, MAX_FIRST_CONTACTS, from)
    return { kind: 'firstAnswer', ...this.self, contacts }
  }

  hello(): Asked<'hello'> {
    return { kind: 'hello', ...this.self, flags: this.#deps.flags() }
  }
  helloAnswer(): Asked<'helloAnswer'> {
    return { ...this.hello(), kind: 'helloAnswer' }
  }

  /** A question for another node, or for no contacts, is not answered: aMule does the same. */
  find({ most, target, asked }: Asked<'find'>, from: Address): KadMessage | undefined {
    if (most === 0 || !equalBytes(asked, this.#deps.table.ownId)) return undefined
    return { kind: 'found', target, contacts: this.#contacts(target, Math.min(most, MAX_CONTACTS_PER_ANSWER), from) }
  }

  /** All datagrams of the answer; none when nothing is known. */
  search({ target, size, from: start }: Asked<'search'>, from: Address): KadMessage[] {
    const { store, own, table } = this.#deps
    const mine = own(target, from)
    const kept = store.sources(target, size, MAX_ANSWERED_SOURCES).filter(s => this.#mayTell(from, s.host))
    const all = (mine && (size === 0 || mine.size === size) ? [mine, ...kept] : kept).slice(start, MAX_ANSWERED_SOURCES)
    return inDatagrams({ kind: 'results', id: table.ownId, target, results: all.map(resultOf) })
  }

  /** Only what is near us, from whom it speaks of; not so near in the user's own network, where there are few nodes (threats ED6). */
  publish({ target, client, tags }: Asked<'publish'>, from: Address): KadMessage | undefined {
    const { store, table, scope, anyDistance, kept } = this.#deps
    if (!anyDistance && scope.isPublic(from.host) && !isNear(table.ownId, target)) return undefined
    const source = keptSource(client, tags, from)
    if (!source || !scope.isUsable({ host: source.host, port: source.tcpPort }) || !store.add(target, source)) return undefined
    kept(target, source)
    return { kind: 'published', target, load: store.load(target) }
  }

  #contacts(target: Uint8Array, most: number, from: Address): Contact[] {
    return this.#deps.table
      .closest(target, 2 * MAX_CONTACTS_PER_ANSWER)
      .filter(c => c.failures === 0 && this.#mayTell(from, c.host) && !(c.host === from.host && c.port === from.port))
      .slice(0, most)
  }

  /** Addresses of our own network are nothing to those outside of it. */
  #mayTell(asker: Address, host: string): boolean {
    const { scope } = this.#deps
    return !scope.isPublic(asker.host) || scope.isPublic(host)
  }
}

function inDatagrams(message: Asked<'results'>): KadMessage[] {
  const out: KadMessage[] = []
  let results: Result[] = []
  const flush = (): void => {
    if (results.length > 0) out.push({ ...message, results })
  }
  for (const result of message.results) {
    if (encodeKad({ ...message, results: [...results, result] }).length > MAX_SENT_BYTES) {
      flush()
      results = []
    }
    results.push(result)
  }
  flush()
  return out
}
