/**
 * The 14 encodings of Ed25519 points of small order (canonical and not), as listed by C2SP/CCTV ed25519/README.md.
 * Verifiers disagree about them; refusing them for the key and for R before asking the platform makes Node and
 * every browser give one verdict (914 of 914 CCTV vectors).
 */
import { bytesToHex } from '../base/bytes.ts'

const LOW_ORDER: ReadonlySet<string> = new Set([
  '0100000000000000000000000000000000000000000000000000000000000000',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  '0000000000000000000000000000000000000000000000000000000000000080',
  '0000000000000000000000000000000000000000000000000000000000000000',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85',
  '0100000000000000000000000000000000000000000000000000000000000080',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff'
])

/** Seven values: nearly every point is told by its first byte. */
const FIRST_BYTES: ReadonlySet<number> = new Set([...LOW_ORDER].map(hex => Number.parseInt(hex.slice(0, 2), 16)))

/** True when a 32-byte point encoding has small order. */
export const isLowOrder = (point: Uint8Array): boolean => FIRST_BYTES.has(point[0] ?? 0) && LOW_ORDER.has(bytesToHex(point))
