/** What payment tests share: peers joined in memory with the limits of the real Rpc, signers, offers, folders that vanish. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bytesToHex } from '../../src/base/bytes.ts'
import { systemClock } from '../../src/base/clock.ts'
import { codeOf, KithError } from '../../src/base/errors.ts'
import { silentLogger } from '../../src/base/log.ts'
import type { Rpc, RpcContext } from '../../src/net/rpc.ts'
import { openPay, type Pay, type PayDeps, type PayOptions } from '../../src/pay/open.node.ts'
import type { CheckedOffer, Customer, FileRef, Signer } from '../../src/pay/types.ts'
import { ed25519PublicKey, ed25519Sign, randomBytes } from '../../src/platform/crypto.node.ts'
import { sha256 } from '../../src/platform/hash.node.ts'
import { merkleRoot } from '../../src/transfer/hashing/merkle.ts'
import { CHUNK_BYTES } from '../../src/wire/limits.ts'
import { signedBytes } from '../../src/wire/signed.ts'

type Handler = (request: Uint8Array, context: RpcContext) => Promise<Uint8Array>

/** Peers that reach each other by name. `down` makes one unreachable. */
export class MemoryNet {
  readonly #peers = new Map<string, Map<string, { readonly max: number; readonly handler: Handler }>>()
  readonly down: Set<string> = new Set()
  /** method → requests made, for assertions. */
  readonly calls: string[] = []

  join(peerId: string): Rpc {
    const methods = new Map<string, { max: number; handler: Handler }>()
    this.#peers.set(peerId, methods)
    return {
      handle: (method, { maxRequestBytes }, handler) => {
        methods.set(method, { max: maxRequestBytes, handler })
        return { [Symbol.dispose]: () => void methods.delete(method) }
      },
      request: async (target, method, body, { maxResponseBytes, timeoutMs, signal }) => {
        this.calls.push(method)
        if (timeoutMs !== undefined) AbortSignal.timeout(timeoutMs) // as the real one: refuses fractions of a ms
        const entry = this.down.has(target.peerId) ? undefined : this.#peers.get(target.peerId)?.get(method)
        if (!entry) throw new KithError('PEER_UNREACHABLE', 'not there')
        if (body.length > entry.max) throw new KithError('PEER_PROTOCOL', 'request too large')
        const context = { peerId, address: '127.0.0.1', signal: signal ?? new AbortController().signal }
        const answer = await entry.handler(Uint8Array.from(body), context).catch(error => {
          throw new KithError('PEER_REFUSED', 'refused', { code: codeOf(error) })
        })
        if (answer.length > maxResponseBytes) throw new KithError('PEER_PROTOCOL', 'answer too large')
        return Uint8Array.from(answer)
      },
      addressOf: () => '127.0.0.1'
    }
  }
}

export async function makeSigner(seed: Uint8Array): Promise<Signer> {
  const instanceKey = await ed25519PublicKey(seed)
  return {
    instanceKey,
    sign: async (domain, body) => ({ body, signer: instanceKey, signature: await ed25519Sign(seed, signedBytes(domain, body)) })
  }
}

/** A folder under the system's temporary one, removed on disposal. */
export function tempFolder(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), 'kith-pay-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

/** BIP-39 phrases that are valid and belong to nobody. */
export const phrases = [
  'test test test test test test test test test test test junk',
  'legal winner thank year wave sausage worth useful legal winner thank yellow',
  'letter advice cage absurd amount doctor acoustic avoid letter advice cage above',
  'zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo wrong'
] as const

export interface TestPeer extends AsyncDisposable {
  readonly name: string
  readonly pay: Pay
  readonly signer: Signer
  readonly instance: string
  readonly wallet: Uint8Array
}

/** Opens payments for a named peer; the name decides its instance key, the index its wallet (-1: none). */
export async function openPeer(
  net: MemoryNet,
  folder: string,
  name: string,
  walletIndex: number,
  options: PayOptions,
  deps: Partial<PayDeps> = {}
): Promise<TestPeer> {
  const signer = await makeSigner(sha256(new TextEncoder().encode(name)))
  const base = { rpcHost: net.join(name), clock: systemClock, log: silentLogger, random: randomBytes, identity: signer }
  const pay = await openPay({ ...base, folder: join(folder, name), ...deps }, options)
  const view = pay.gate.terms
  if (!view && walletIndex >= 0) await pay.createWallet({ phrase: phrases[walletIndex]! })
  return {
    name,
    pay,
    signer,
    instance: bytesToHex(signer.instanceKey),
    wallet: pay.gate.wallet,
    [Symbol.asyncDispose]: () => pay[Symbol.asyncDispose]()
  }
}

export interface TestFile extends FileRef {
  readonly chunkHashes: Uint8Array
  readonly count: number
}

/** A file of `chunks` chunks (the last one 1000 bytes shorter) that exists only as hashes. */
export function makeFile(name: string, chunks: number): TestFile {
  const size = chunks * CHUNK_BYTES - 1000
  const chunkHashes = new Uint8Array(32 * chunks)
  for (let i = 0; i < chunks; i++) chunkHashes.set(sha256(new TextEncoder().encode(`${name} ${i}`)), 32 * i)
  return { fileId: sha256(new TextEncoder().encode(name)), root: merkleRoot(size, chunkHashes), size, chunkHashes, count: chunks }
}

export const offerOf = (peer: TestPeer, file: FileRef, pricePerMb: bigint, chainId = 98765): CheckedOffer => ({
  offer: {
    ...file,
    peerId: new Uint8Array(38),
    sequence: 1,
    expiresAt: Date.now() + 60_000,
    creditBytes: 0,
    pricePerMb,
    chainId,
    wallet: peer.wallet,
    chunks: undefined,
    protocols: []
  },
  seeder: peer.instance,
  hash: sha256(new TextEncoder().encode(`${peer.name} ${pricePerMb}`)),
  peerId: peer.name,
  addresses: []
})

export const customerOf = (peer: TestPeer, address = '127.0.0.1'): Customer => ({
  peerId: peer.name,
  instance: peer.instance,
  wallet: peer.wallet,
  address
})
