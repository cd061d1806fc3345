/** What earlier runs of a download brought: it counts, and it is owed for. */
import { base64UrlToBytes } from '../../base/bytes.ts'
import { decode } from '../../base/codec.ts'
import { textOf } from '../../base/errors.ts'
import { peerIdToText } from '../../identity/peer-id.ts'
import { offerCodec } from '../../wire/offer.ts'
import { offerAnswer } from '../../wire/transfer-rpc.ts'
import { chunkLength } from '../grid.ts'
import { checkOffer } from '../offers.ts'
import type { PartFile } from '../part-file.node.ts'
import type { Bill } from '../payment-gate.ts'

/** Tells the bill who delivered what is in the part file. @returns bytes that are there */
export async function replay(part: PartFile, bill: Bill, note: (text: string) => void): Promise<number> {
  const seeders = await Promise.all(part.sources.map(s => readmit(s.offer, bill, note)))
  let total = 0
  for (const [chunk, index] of part.resumed) {
    const bytes = chunkLength(part.grid, chunk)
    total += bytes
    const seeder = seeders[index]
    if (seeder) bill.delivered(seeder, part.sources[index]!.protocol, chunk, bytes)
  }
  return total
}

async function readmit(raw: string | undefined, bill: Bill, note: (text: string) => void): Promise<string | undefined> {
  if (raw === undefined) return undefined
  try {
    const bytes = base64UrlToBytes(raw)
    const { peerId, fileId } = decode(offerCodec, decode(offerAnswer, bytes).offer.body)
    const offer = await checkOffer(bytes, { peerId: peerIdToText(peerId) }, fileId, undefined)
    bill.admit(offer)
    return offer.seeder
  } catch (error) {
    note(`an earlier seeder cannot be paid: ${textOf(error)}`)
    return undefined
  }
}
