/** Finds out whether a client can be connected to, and whether it is who it says: how servers give high ids, and Kad nodes tell each other. */
import { equalBytes } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { wireError } from './bytes.ts'
import { type Crypt, decodeHello, encodeHello } from './hello.ts'
import { LINGER_MS, MAX_HELLO_BYTES, PROBE_MS } from './limits.ts'
import { edonkey } from './opcodes.ts'
import { encodePacket, type Packet, type PacketHead, protocols } from './packet.ts'
import { type PeerHandler, PeerWire } from './peer.node.ts'

export interface ProbeTarget {
  /** An address that was checked. */
  readonly host: string
  readonly port: number
  readonly userHash: Uint8Array
  readonly crypt?: Crypt
}

export interface ProbeOptions {
  readonly clock: Clock
  /** Who we say we are: aMule bans an address and port that shows another user hash. */
  readonly ownHash: Uint8Array
  readonly ownPort: number
  /** Sent when the client has answered: packet C5 with this number and no payload. */
  readonly thenSay?: number
}

/** Connects, says hello and hangs up. @returns whether the client with this user hash answered within five seconds */
export async function probeClient(target: ProbeTarget, options: ProbeOptions, signal: AbortSignal): Promise<boolean> {
  const { host, port, userHash, crypt } = target
  const { clock, ownHash, ownPort, thenSay } = options
  const answered = Promise.withResolvers<boolean>()
  const over = new AbortController()
  const all = AbortSignal.any([signal, over.signal])
  const handler: PeerHandler = {
    ...IGNORE,
    maxPayload: ({ protocol, opcode }: PacketHead) =>
      protocol === protocols.edonkey && opcode === edonkey.helloAnswer ? MAX_HELLO_BYTES : undefined,
    packet: ({ payload }: Packet) => answered.resolve(equalBytes(decodeHello(payload, true).userHash, userHash)),
    closed: () => answered.resolve(false)
  }
  const late = clock.sleep(PROBE_MS, all).catch(() => {})
  void late.then(() => answered.resolve(false))
  try {
    const obfuscateTo = crypt?.required ? userHash : undefined
    const wireOptions = { clock, address: `${host}:${port}`, ownHash, obfuscateTo }
    await using wire = await PeerWire.dial(host, port, wireOptions, () => handler, AbortSignal.any([all, AbortSignal.timeout(PROBE_MS)]))
    wire.write(encodePacket(protocols.edonkey, edonkey.hello, helloOf(ownHash, ownPort)))
    const isThere = await answered.promise
    if (isThere && thenSay !== undefined) {
      const sent = Promise.withResolvers<void>()
      wire.write(encodePacket(protocols.emule, thenSay), sent.resolve)
      await Promise.race([sent.promise, wire.ended])
      // Hanging up on what it still sends would reset the connection, and it might never read this.
      await Promise.race([clock.sleep(LINGER_MS, all).catch(() => {}), wire.ended])
    }
    return isThere
  } catch {
    return false
  } finally {
    over.abort()
    await late
  }
}

const refuse = (): never => {
  throw wireError('data that nobody asked for')
}
const IGNORE = {
  part: refuse,
  target: refuse,
  received: () => {},
  readDone: () => {},
  keepAlive: () => {}
}

/** We have no abilities and want nothing. */
const helloOf = (userHash: Uint8Array, port: number): Uint8Array =>
  encodeHello(
    {
      userHash,
      id: 0,
      port,
      udpPort: 0,
      kadPort: 0,
      name: 'kith',
      serverIp: 0,
      serverPort: 0,
      kithNonce: undefined,
      abilities: {
        aich: false,
        compression: false,
        secIdent: 0,
        extendedRequests: 0,
        multiPacket: false,
        multiPacketExt: false,
        largeFiles: true,
        sourceExchange2: false,
        crypt: { supported: false, requested: false, required: false },
        kadVersion: 0
      }
    },
    false
  )
