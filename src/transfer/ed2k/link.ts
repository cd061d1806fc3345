/**
 * ed2k links to files, read strictly and written in one form:
 *
 *     ed2k://|file|NAME|SIZE|HASH|[p=H1:H2:…|][h=AICH|]/[|sources,ip:port[:crypt[:user hash]],…|/]
 *
 * The name is percent-encoded where it must be. It is display text: the path on disk is made safe elsewhere. (threats ED7)
 */
import { base32ToBytes, bytesToBase32, bytesToHex, concatBytes, hexToBytes } from '../../base/bytes.ts'
import { KithError } from '../../base/errors.ts'
import { dataParts } from '../hashing/ed2k-hash.ts'
import { cryptBits, readCrypt } from './hello.ts'
import { MAX_ED2K_LINK_CHARS, MAX_FILE_BYTES, MAX_LINK_NAME_BYTES, MAX_LINK_SOURCES } from './limits.ts'
import type { Ed2kPeer } from './peers.ts'

export interface Ed2kLink {
  readonly name: string
  readonly size: number
  /** 16 bytes. */
  readonly hash: Uint8Array
  /** Hashes of the parts as the link claims them, 16 bytes each; checked against `hash` by whoever uses them. */
  readonly parts?: Uint8Array | undefined
  /** AICH root: 20 bytes. */
  readonly aich?: Uint8Array | undefined
  readonly sources?: readonly Ed2kPeer[] | undefined
}

const bad = (why: string): KithError => new KithError('BAD_ED2K_LINK', why, {}, { hint: 'a link looks like ed2k://|file|name|size|hash|/' })

/** @throws BAD_ED2K_LINK */
export function parseEd2kLink(text: string): Ed2kLink {
  if (text.length > MAX_ED2K_LINK_CHARS) throw bad('the link is too long')
  const plain = /^\s*ed2k:\/\/%7C/i.test(text) ? text.replace(/%7C/gi, '|') : text // as browsers pass them on
  if (/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(plain)) throw bad('a line break or control character in the link')
  const fields = plain.trim().split('|')
  if (!/^ed2k:\/\/$/i.test(fields[0] ?? '') || fields[1]?.toLowerCase() !== 'file') throw bad('not an ed2k link to a file')
  const [, , rawName = '', rawSize = '', rawHash = ''] = fields
  const size = readSize(rawSize)
  if (!/^[0-9a-fA-F]{32}$/.test(rawHash)) throw bad('the hash is not 32 hex digits')
  const close = fields.indexOf('/', 5)
  if (close < 0) throw bad('the link is cut off: it must end with |/')
  const options = readOptions(fields.slice(5, close), size)
  return { name: readName(rawName), size, hash: hexToBytes(rawHash), ...options, sources: readTail(fields.slice(close + 1)) }
}

/** The one spelling Kith writes: part hashes are left out, every client asks for them; what no name in a link may hold is `_`. */
export function formatEd2kLink(link: Ed2kLink): string {
  const name = encodeURIComponent(link.name.toWellFormed().replace(NOT_IN_NAMES, '_'))
  const aich = link.aich ? `h=${bytesToBase32(link.aich).toUpperCase()}|` : ''
  const sources = (link.sources ?? []).map(s => {
    const crypt = s.crypt ? cryptBits(s.crypt) : 0
    const more = s.userHash && crypt > 0 ? `:${0x80 | crypt}:${bytesToHex(s.userHash)}` : ''
    return `${s.host}:${s.port}${more}`
  })
  const tail = sources.length > 0 ? `|sources,${sources.join(',')}|/` : ''
  return `ed2k://|file|${name}|${link.size}|${bytesToHex(link.hash)}|${aich}/${tail}`
}

/** Bars, slashes and control characters. */
const NOT_IN_NAMES = /[|/\\\u0000-\u001f\u007f-\u009f\u2028\u2029]/g

function readSize(text: string): number {
  if (!/^[1-9][0-9]{0,15}$/.test(text)) throw bad(text === '0' ? 'an empty file cannot be fetched' : 'the size is not a number')
  const size = Number(text)
  if (size > MAX_FILE_BYTES) throw bad('the file is larger than eDonkey allows')
  return size
}

function readName(text: string): string {
  let name: string
  try {
    name = decodeURIComponent(text)
  } catch {
    name = text // a percent sign that means itself
  }
  if (name === '' || new TextEncoder().encode(name).length > MAX_LINK_NAME_BYTES) throw bad('no name, or one that is too long')
  if (/[\u0000-\u001f\u007f-\u009f\u2028\u2029|]/.test(name) || !name.isWellFormed()) throw bad('a control character or a | in the name')
  if (/[/\\]/.test(name) || name === '.' || name === '..') throw bad('the name is a path')
  return name
}

function readOptions(fields: readonly string[], size: number): Pick<Ed2kLink, 'parts' | 'aich'> {
  let parts: Uint8Array | undefined
  let aich: Uint8Array | undefined
  for (const field of fields) {
    if (/^p=/i.test(field)) parts = readParts(field.slice(2), size)
    else if (/^h=/i.test(field)) {
      if (!/^h=[A-Za-z2-7]{32}$/.test(field)) throw bad('the AICH hash is not 32 characters of base32')
      aich = base32ToBytes(field.slice(2))
    } // s= names web servers: none of them proves anything, and they lead anywhere
  }
  return { parts, aich }
}

function readParts(text: string, size: number): Uint8Array {
  const hashes = text.split(':')
  const count = dataParts(size)
  const isRightCount = hashes.length === count || hashes.length === count + 1
  if (!isRightCount || !hashes.every(h => /^[0-9a-fA-F]{32}$/.test(h))) throw bad('the part hashes do not fit the size')
  return concatBytes(...hashes.map(h => hexToBytes(h)))
}

/** What follows `|/`: nothing, or one list of sources. Sources that cannot be read or have no port are left out. */
function readTail(fields: readonly string[]): Ed2kPeer[] {
  const [list = '', end = '/', ...rest] = fields
  if (list === '' && fields.length <= 1) return []
  if (!/^sources,/i.test(list) || end !== '/' || rest.some(f => f !== '')) throw bad('something follows the link')
  const peers: Ed2kPeer[] = []
  for (const text of list.split(',').slice(1)) {
    const m = /^([A-Za-z0-9.-]{1,253}):([0-9]{1,5})(?::([0-9]{1,3})(?::([0-9a-fA-F]{32}))?)?$/.exec(text)
    const port = Number(m?.[2])
    if (!m || port < 1 || port > 65_535 || peers.length >= MAX_LINK_SOURCES) continue
    const crypt = readCrypt(Number(m[3] ?? 0))
    peers.push({ host: m[1]!, port, userHash: m[4] ? hexToBytes(m[4]) : undefined, crypt: m[3] ? crypt : undefined })
  }
  return peers
}
