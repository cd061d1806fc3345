/**
 * Clients that have a file, as Kad carries them in tags: FF kind (1 can be reached, 4 the same for more than 4 GiB, 3, 5, 6 cannot), FD TCP port, FC UDP
 * port, 02 size, F3 obfuscation, FE address (set by the node that keeps it: where the publication came from). Spec: docs/wire/ed2k.md §11
 */
import { type Crypt, cryptBits, readCrypt } from '../ed2k/hello.ts'
import type { Ed2kPeer } from '../ed2k/peers.ts'
import { numberTag, type Tag } from '../ed2k/tags.ts'
import { MAX_KEPT_TAGS, MAX_TAG_TEXT } from './limits.ts'
import { hostToNumber, numberToHost, type Result } from './messages.ts'

const ids = {
  size: 0x02,
  crypt: 0xf3,
  buddyHash: 0xf8,
  buddyPort: 0xfa,
  buddyHost: 0xfb,
  udpPort: 0xfc,
  tcpPort: 0xfd,
  host: 0xfe,
  kind: 0xff
} as const
const OPEN: ReadonlySet<number> = new Set([1, 4])
/** Reached through somebody else, or by a datagram first: kept for programs that can. */
const CLOSED: ReadonlySet<number> = new Set([3, 5, 6])
const KEPT: ReadonlySet<unknown> = new Set([ids.crypt, ids.buddyHash, ids.buddyPort, ids.buddyHost])
const LARGE_FROM: number = 2 ** 32

/** What a node keeps of one. */
export interface KeptSource {
  /** User hash. */
  readonly client: Uint8Array
  readonly host: string
  readonly kind: number
  readonly tcpPort: number
  readonly udpPort: number
  /** 0 when it was not said. */
  readonly size: number
  /** Of those that are only passed on. */
  readonly tags: readonly Tag[]
}

/** Our own publication. */
export function tagsOfOwn(size: number, tcpPort: number, crypt: Crypt): Tag[] {
  return [
    { name: ids.kind, type: 'u8', value: size < LARGE_FROM ? 1 : 4 },
    { name: ids.tcpPort, type: 'u16', value: tcpPort },
    sizeTag(size),
    { name: ids.crypt, type: 'u8', value: cryptBits(crypt) }
  ]
}

/** A publication as it is kept; undefined when it names no client that could be reached. @param from where it came from: nobody can publish for others */
export function keptSource(
  client: Uint8Array,
  tags: readonly Tag[],
  from: { readonly host: string; readonly port: number }
): KeptSource | undefined {
  const kind = numberTag(tags, ids.kind) ?? 0
  const tcpPort = numberTag(tags, ids.tcpPort) ?? 0
  const size = numberTag(tags, ids.size) ?? 0
  const isPort = Number.isInteger(tcpPort) && tcpPort > 0 && tcpPort <= 65_535
  if (!(OPEN.has(kind) || CLOSED.has(kind)) || !isPort || !Number.isSafeInteger(size)) return undefined
  const kept = tags.filter(t => KEPT.has(t.name) && (t.type !== 'text' || t.value.length <= MAX_TAG_TEXT) && t.type !== 'blob')
  return { client, host: from.host, kind, tcpPort, udpPort: from.port, size, tags: kept.slice(0, MAX_KEPT_TAGS) }
}

/** In the order that aMule has. */
export function resultOf(s: KeptSource): Result {
  const tags: Tag[] = [
    ...(s.size === 0 ? [] : [sizeTag(s.size)]),
    { name: ids.host, type: 'u32', value: hostToNumber(s.host) },
    { name: ids.kind, type: 'u8', value: s.kind },
    { name: ids.tcpPort, type: 'u16', value: s.tcpPort },
    ...s.tags,
    { name: ids.udpPort, type: 'u16', value: s.udpPort }
  ]
  return { id: s.client, tags }
}

/** A client that can be connected to, and has a file of this size; undefined for others. Whether it may be connected to is for the caller to check. */
export function peerOf({ id, tags }: Result, size: number): Ed2kPeer | undefined {
  const host = numberTag(tags, ids.host)
  const port = numberTag(tags, ids.tcpPort) ?? 0
  const said = numberTag(tags, ids.size) ?? 0
  const isHost = host !== undefined && Number.isInteger(host) && host > 0 && host < 2 ** 32
  if (!isHost || !OPEN.has(numberTag(tags, ids.kind) ?? 0) || !Number.isInteger(port) || port < 1 || port > 65_535) return undefined
  if (said !== 0 && said !== size) return undefined
  const crypt = numberTag(tags, ids.crypt)
  return { host: numberToHost(host), port, userHash: id, crypt: crypt === undefined ? undefined : readCrypt(crypt) }
}

const sizeTag = (size: number): Tag =>
  size < LARGE_FROM ? { name: ids.size, type: 'u32', value: size } : { name: ids.size, type: 'u64', value: size }
