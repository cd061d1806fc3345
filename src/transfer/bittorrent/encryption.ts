/**
 * Which connections are encrypted, and the torrents of ours that an encrypted handshake may mean: it names one only by a hash, so what we
 * take part in is kept by that hash. Each handshake costs two powers of a long number, so each address has a rate. Pure.
 */
import { bytesToHex } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { RateByAddress } from '../mainline/guards.ts'
import { MSE_BURST, MSE_PER_SECOND } from './limits.ts'
import { MseInitiator, type MseMethod, MseResponder, markOf, mseMethods } from './mse.ts'

/**
 * off: none. allowed: taken when a peer begins with it, and tried when a peer hangs up on a plain handshake; the payload then flows in the
 * clear if both sides like that. required: always, and the payload too.
 */
export type EncryptionMode = 'off' | 'allowed' | 'required'

/** What a connection does about encryption. */
export interface WireEncryption {
  /** Begins (on a connection we dialled) with an encryption handshake; what is written before it is done goes with it or behind it. */
  readonly encryption?: ((firstPayload: () => Uint8Array) => MseInitiator) | undefined
  /** Called when what comes is no plain handshake: answers an encryption handshake; undefined when none is taken. */
  readonly onEncrypted?: (() => MseResponder | undefined) | undefined
  /** Close on a plain handshake. */
  readonly onlyEncrypted?: boolean | undefined
}

const METHODS: Readonly<Record<EncryptionMode, readonly MseMethod[]>> = {
  off: [],
  allowed: [mseMethods.plaintext, mseMethods.rc4],
  required: [mseMethods.rc4]
}

export class Encryption {
  readonly mode: EncryptionMode
  readonly #rates: RateByAddress
  /** Info-hashes by mark, with how many times they are in use. */
  readonly #torrents = new Map<string, { readonly infoHash: Uint8Array; uses: number }>()

  constructor(clock: Clock, mode: EncryptionMode) {
    this.mode = mode
    this.#rates = new RateByAddress(clock, MSE_PER_SECOND, MSE_BURST)
  }

  /** Peers may ask for this torrent with an encrypted handshake until disposed. */
  know(infoHash: Uint8Array): Disposable {
    const mark = this.mode === 'off' ? bytesToHex(infoHash) : markOf(infoHash)
    const entry = this.#torrents.get(mark) ?? { infoHash, uses: 0 }
    entry.uses++
    this.#torrents.set(mark, entry)
    return {
      [Symbol.dispose]: () => {
        if (--entry.uses === 0) this.#torrents.delete(mark)
      }
    }
  }

  /** For a connection that we begin with an encrypted handshake. */
  outgoing(infoHash: Uint8Array): WireEncryption {
    return { encryption: firstPayload => new MseInitiator(infoHash, METHODS[this.mode], firstPayload), onlyEncrypted: true }
  }

  /** For a connection that somebody at this IP address begins. */
  incoming(ip: string): WireEncryption {
    const find = (mark: string): Uint8Array | undefined => this.#torrents.get(mark)?.infoHash
    return {
      onEncrypted: () =>
        this.mode !== 'off' && this.#rates.tryTake(ip) ? new MseResponder({ accept: METHODS[this.mode], find }) : undefined,
      onlyEncrypted: this.mode === 'required'
    }
  }
}
