/**
 * Offers between nodes: answers `offer`, `hashes` and `ticket` for the shares of this node, and asks others. An offer counts only
 * when its signer's certificate names the PeerId we are connected to, and it is for the file asked, and still holds.
 */
import { sha256 } from '#hash'
import { bytesToHex, equalBytes } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { decode, encode } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import { verifyPeerCertificate } from '../identity/certificates.ts'
import { peerIdToBytes } from '../identity/peer-id.ts'
import { openSigned } from '../identity/signing.ts'
import type { PeerTarget, Rpc } from '../net/rpc.ts'
import { HASHES_PER_PAGE, MAX_CLOCK_SKEW_MS, MAX_OFFER_AGE_MS, MAX_SIGNED_BYTES } from '../wire/limits.ts'
import { MANIFEST_DOMAIN, type Manifest, manifestCodec } from '../wire/manifest.ts'
import { OFFER_DOMAIN, type Offer, offerCodec } from '../wire/offer.ts'
import type { Signed } from '../wire/signed.ts'
import {
  hashPage,
  hashPageRequest,
  type OfferAnswer,
  offerAnswer,
  offerRequest,
  TICKET_DOMAIN,
  ticketAnswer,
  ticketRequest,
  ticketRequestBody
} from '../wire/transfer-rpc.ts'
import type { Grid } from './grid.ts'
import { checkPage } from './hashing/merkle.ts'
import { OFFER_TIMEOUT_MS } from './limits.ts'
import type { CheckedOffer, PaymentGate } from './payment-gate.ts'
import type { Share, Ticket } from './protocol.ts'
import type { TicketBook } from './tickets.ts'

/** This node as others see it. */
export interface Signer {
  /** 32 bytes. */
  readonly instanceKey: Uint8Array
  /** libp2p PeerId text. */
  readonly peerId: string
  /** The chain PeerId → instance → person. */
  readonly certificate: Uint8Array
  sign(domain: string, body: Uint8Array): Promise<Signed>
}

export interface OfferDeps {
  readonly rpc: Rpc
  readonly clock: Clock
  readonly signer: Signer
  readonly tickets: TicketBook
  readonly payments: PaymentGate
}

/** What the share book tells about one share, beyond serving it. */
export interface OfferedShare {
  readonly share: Share
  readonly creditBytes: number | undefined
  readonly manifest: Signed | undefined
  /** The offer without what depends on who asks. */
  terms(): Promise<Omit<Offer, 'peerId' | 'creditBytes' | 'wallet' | 'chainId'>>
  /** A page of the chunk hash list with its proof; undefined while not all hashes are known. */
  page(n: number): { readonly hashes: Uint8Array; readonly path: readonly Uint8Array[] } | undefined
}

export interface OfferedShares {
  offered(fileIdHex: string): OfferedShare | undefined
  offeredByRoot(rootHex: string): OfferedShare | undefined
}

const HASH_PAGE_BYTES = HASHES_PER_PAGE * 32 + 32 * 32
const ANSWER_BYTES = MAX_SIGNED_BYTES + 8192

/** Answers others until disposed. */
export function serveOffers(deps: OfferDeps, shares: OfferedShares): Disposable {
  const stack = new DisposableStack()
  const limits = { maxRequestBytes: 2048, perSecond: 20 }
  stack.use(
    deps.rpc.handle('offer', limits, async (request, { peerId, address }) => {
      const { fileId, wallet } = decode(offerRequest, request)
      const offered = shares.offered(bytesToHex(fileId))
      if (!offered) throw new KithError('UNKNOWN_SHARE', 'no such file here')
      return encode(offerAnswer, await answerOffer(deps, offered, { peerId, wallet, address: address ?? '' }))
    })
  )
  stack.use(
    deps.rpc.handle('hashes', limits, async request => {
      const { root, page } = decode(hashPageRequest, request)
      const found = shares.offeredByRoot(bytesToHex(root))?.page(page)
      if (!found) throw new KithError('UNKNOWN_SHARE', 'no such file here')
      return encode(hashPage, found)
    })
  )
  stack.use(
    deps.rpc.handle('ticket', limits, async (request, { peerId, address }) => {
      const { certificate, request: signed } = decode(ticketRequest, request)
      const { instanceKey } = await verifyPeerCertificate(certificate, peerId)
      const body = await openSigned(ticketRequestBody, TICKET_DOMAIN, signed)
      const forUs = equalBytes(body.seeder, peerIdToBytes(deps.signer.peerId)) && equalBytes(signed.signer, instanceKey)
      if (!forUs || Math.abs(body.time - deps.clock.now()) > MAX_CLOCK_SKEW_MS)
        throw new KithError('INVALID_OFFER', 'ticket request is for another peer or time')
      if (!shares.offered(bytesToHex(body.fileId))) throw new KithError('UNKNOWN_SHARE', 'no such file here')
      const who = { peerId, instance: bytesToHex(instanceKey), wallet: body.wallet, address: address ?? '' }
      return encode(ticketAnswer, deps.tickets.issue(who, body.fileId))
    })
  )
  return stack
}

async function answerOffer(
  deps: OfferDeps,
  offered: OfferedShare,
  who: { peerId: string; wallet: Uint8Array; address: string }
): Promise<OfferAnswer> {
  const base = await offered.terms()
  const free = base.pricePerMb === 0n
  const terms = free ? undefined : deps.payments.terms
  if (!free && !terms) throw new KithError('PAYMENTS_OFF', 'this node cannot be paid at the moment')
  const offer: Offer = {
    ...base,
    peerId: peerIdToBytes(deps.signer.peerId),
    creditBytes: free ? 0 : deps.payments.creditFor(who, { creditBytes: offered.creditBytes }),
    wallet: terms?.wallet ?? new Uint8Array(20),
    chainId: terms?.chainId ?? 0
  }
  return {
    certificate: deps.signer.certificate,
    offer: await deps.signer.sign(OFFER_DOMAIN, encode(offerCodec, offer)),
    manifest: offered.manifest
  }
}

export interface FetchedOffer extends CheckedOffer {
  readonly manifest: Manifest | undefined
  /** The answer as received: kept with what was fetched under it. */
  readonly raw: Uint8Array
}

/** Asks one provider. @throws PEER_*, INVALID_OFFER, WIRE_* */
export async function fetchOffer(deps: OfferDeps, target: PeerTarget, fileId: Uint8Array, signal: AbortSignal): Promise<FetchedOffer> {
  const body = encode(offerRequest, { fileId, wallet: deps.payments.wallet })
  const raw = await deps.rpc.request(target, 'offer', body, { maxResponseBytes: ANSWER_BYTES, timeoutMs: OFFER_TIMEOUT_MS, signal })
  return checkOffer(raw, target, fileId, deps.clock.now())
}

/** Checks a received offer answer: signature, certificate, file and expiry. @throws INVALID_OFFER, WIRE_*, INVALID_CERTIFICATE */
export async function checkOffer(
  raw: Uint8Array,
  target: PeerTarget,
  fileId: Uint8Array,
  nowMs: number | undefined
): Promise<FetchedOffer> {
  const answer = decode(offerAnswer, raw)
  const { instanceKey } = await verifyPeerCertificate(answer.certificate, target.peerId)
  const offer = await openSigned(offerCodec, OFFER_DOMAIN, answer.offer)
  const bad = (why: string): never => {
    throw new KithError('INVALID_OFFER', `an offer ${why}`, { peer: target.peerId })
  }
  if (!equalBytes(answer.offer.signer, instanceKey)) bad('is signed by another key')
  if (!equalBytes(offer.peerId, peerIdToBytes(target.peerId))) bad('names another peer')
  if (!equalBytes(offer.fileId, fileId)) bad('is for another file')
  if (nowMs !== undefined && offer.expiresAt < nowMs - MAX_CLOCK_SKEW_MS) bad('has expired')
  if (nowMs !== undefined && offer.expiresAt > nowMs + MAX_OFFER_AGE_MS + MAX_CLOCK_SKEW_MS) bad('claims to hold for too long')
  const manifest = answer.manifest && (await openSigned(manifestCodec, MANIFEST_DOMAIN, answer.manifest).catch(() => undefined))
  const about = manifest && equalBytes(manifest.fileId, fileId) && equalBytes(manifest.root, offer.root) ? manifest : undefined
  const seeder = bytesToHex(instanceKey)
  return { offer, seeder, hash: sha256(answer.offer.body), peerId: target.peerId, addresses: target.addresses ?? [], manifest: about, raw }
}

/** Asks a seeder for a ticket for one file. @throws PEER_*, WIRE_* */
export async function fetchTicket(deps: OfferDeps, target: PeerTarget, fileId: Uint8Array, signal: AbortSignal): Promise<Ticket> {
  const body = encode(ticketRequestBody, {
    fileId,
    seeder: peerIdToBytes(target.peerId),
    wallet: deps.payments.wallet,
    time: deps.clock.now()
  })
  const request = encode(ticketRequest, { certificate: deps.signer.certificate, request: await deps.signer.sign(TICKET_DOMAIN, body) })
  return decode(ticketAnswer, await deps.rpc.request(target, 'ticket', request, { maxResponseBytes: 256, signal }))
}

/** Fetches one page of the hash list and checks it against the root. @throws PEER_*, WIRE_*, INVALID_PROOF */
export async function fetchHashPage(
  deps: Pick<OfferDeps, 'rpc'>,
  target: PeerTarget,
  root: Uint8Array,
  grid: Grid,
  page: number,
  signal: AbortSignal
): Promise<Uint8Array> {
  const raw = await deps.rpc.request(target, 'hashes', encode(hashPageRequest, { root, page }), {
    maxResponseBytes: HASH_PAGE_BYTES,
    signal
  })
  const { hashes, path } = decode(hashPage, raw)
  checkPage(root, grid.size, grid.count, page, hashes, path)
  return hashes
}
