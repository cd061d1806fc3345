/**
 * Local service discovery (BEP 14) on one multicast socket: says which torrents we have, and hears who else has them. Off unless asked for:
 * the group is joined when this is opened.
 */
import { createSocket, type Socket } from 'node:dgram'
import { randomBytes } from '#crypto'
import { bytesToHex, hexToBytes } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { KithError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { TokenBucket } from '../../base/token-bucket.ts'
import { checkPort } from '../address-filter.ts'
import {
  LSD_BATCH_MS,
  LSD_MS,
  LSD_RECEIVED_BURST,
  LSD_RECEIVED_PER_SECOND,
  LSD_SENT_BURST,
  LSD_SENT_PER_SECOND,
  MAX_LSD_HEARD,
  MAX_LSD_TORRENTS
} from './limits.ts'
import { decodeLsd, encodeLsd, LSD_GROUP, LSD_PORT } from './lsd.ts'
import { formatPeerAddress, type PeerAddress } from './urls.ts'

export interface LsdDeps {
  readonly clock: Clock
  readonly log: Logger
}

export interface LsdOptions {
  readonly group?: string
  readonly port?: number
  /** Address of the interface to use; the system's choice by default. */
  readonly interface?: string
}

export type OnLocalPeer = (peer: PeerAddress) => void

/** Joins the group. @param tcpPort where peers reach us @throws PORT_UNAVAILABLE */
export async function openLsd(deps: LsdDeps, tcpPort: number, options: LsdOptions = {}): Promise<Lsd> {
  const { group = LSD_GROUP, port = LSD_PORT } = options
  const socket = createSocket({ type: 'udp4', reuseAddr: true })
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject)
      socket.bind(port, resolve)
    })
    socket.addMembership(group, options.interface)
    if (options.interface !== undefined) socket.setMulticastInterface(options.interface)
    socket.setMulticastTTL(1)
    socket.setMulticastLoopback(true)
  } catch (cause) {
    socket.close()
    throw new KithError('PORT_UNAVAILABLE', 'local service discovery cannot join its group', { port }, { cause })
  }
  socket.removeAllListeners('error')
  return new Lsd(deps, socket, tcpPort, { group, port })
}

interface Entry {
  readonly listeners: Set<OnLocalPeer>
  count: number
  /** Peers that have been heard since the last round: each is answered once, or two would go on answering each other. */
  readonly heard: Set<string>
}

export class Lsd implements AsyncDisposable {
  readonly #deps: LsdDeps
  readonly #socket: Socket
  readonly #tcpPort: number
  readonly #to: { readonly group: string; readonly port: number }
  readonly #cookie = bytesToHex(randomBytes(8))
  readonly #stop = new AbortController()
  readonly #received: TokenBucket
  readonly #sent: TokenBucket
  readonly #torrents = new Map<string, Entry>()
  /** Info-hashes that are to be announced next. */
  readonly #due = new Set<string>()
  readonly #loop: Promise<void>
  #wake = Promise.withResolvers<void>()

  constructor(deps: LsdDeps, socket: Socket, tcpPort: number, to: { readonly group: string; readonly port: number }) {
    this.#deps = deps
    this.#socket = socket
    this.#tcpPort = tcpPort
    this.#to = to
    this.#received = new TokenBucket(deps.clock, LSD_RECEIVED_PER_SECOND, LSD_RECEIVED_BURST)
    this.#sent = new TokenBucket(deps.clock, LSD_SENT_PER_SECOND, LSD_SENT_BURST)
    socket.on('error', error => deps.log.debug('local service discovery failed', { error }))
    socket.on('message', (bytes, from) => this.#receive(bytes, from.address))
    this.#loop = this.#run()
  }

  /** Keeps a torrent announced on the local network, and hears who else announces it, until disposed. */
  announce(infoHash: Uint8Array, onPeer?: OnLocalPeer): Disposable {
    const hex = bytesToHex(infoHash)
    const entry = this.#torrents.get(hex) ?? { listeners: new Set(), count: 0, heard: new Set() }
    entry.count++
    if (onPeer) entry.listeners.add(onPeer)
    this.#torrents.set(hex, entry)
    this.#say(hex)
    return {
      [Symbol.dispose]: () => {
        if (onPeer) entry.listeners.delete(onPeer)
        if (--entry.count === 0) this.#torrents.delete(hex)
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#stop.signal.aborted) return await this.#loop
    this.#stop.abort()
    this.#wake.resolve()
    await this.#loop
    await new Promise<void>(resolve => this.#socket.close(resolve))
  }

  #say(hex: string): void {
    this.#due.add(hex)
    this.#wake.resolve()
  }

  /** What is due goes out together; everything is due every five minutes. */
  async #run(): Promise<void> {
    const { clock } = this.#deps
    const signal = this.#stop.signal
    while (!signal.aborted) {
      const over = new AbortController()
      const pause = clock.sleep(LSD_MS, AbortSignal.any([signal, over.signal])).then(
        () => true,
        () => false
      )
      const all = await Promise.race([pause, this.#wake.promise.then(() => false)])
      over.abort()
      for (const [hex, { heard }] of all ? this.#torrents : []) {
        this.#due.add(hex)
        heard.clear()
      }
      await clock.sleep(LSD_BATCH_MS, signal).catch(() => {})
      this.#wake = Promise.withResolvers<void>()
      while (this.#due.size > 0 && !signal.aborted) {
        await this.#sent.take(1, signal).catch(() => {})
        this.#sendSome()
      }
    }
  }

  #sendSome(): void {
    const some = [...this.#due].slice(0, MAX_LSD_TORRENTS)
    for (const hex of some) this.#due.delete(hex)
    const infoHashes = some.filter(hex => this.#torrents.has(hex)).map(hexToBytes)
    if (infoHashes.length === 0 || this.#stop.signal.aborted) return
    const { group, port } = this.#to
    this.#socket.send(encodeLsd({ port: this.#tcpPort, infoHashes, cookie: this.#cookie }, `${group}:${port}`), port, group, () => {})
  }

  #receive(bytes: Uint8Array, host: string): void {
    if (!this.#received.tryTake() || this.#stop.signal.aborted) return
    const message = decodeLsd(bytes)
    if (!message || message.cookie === this.#cookie || !isPeerPort(message.port)) return
    for (const infoHash of message.infoHashes) {
      const hex = bytesToHex(infoHash)
      const entry = this.#torrents.get(hex)
      if (!entry) continue
      for (const listener of [...entry.listeners]) listener({ host, port: message.port })
      const key = formatPeerAddress({ host, port: message.port })
      if (entry.heard.has(key) || entry.heard.size >= MAX_LSD_HEARD) continue
      entry.heard.add(key)
      this.#say(hex) // who comes later hears of us too, at the rate of what we send
    }
  }
}

const isPeerPort = (port: number): boolean => {
  try {
    checkPort(port)
    return true
  } catch {
    return false
  }
}
