/** The wallet as the API and the CLI see it, over `pay` and the identity's recovery phrase. */
import { KithError } from '../base/errors.ts'
import type { NodeParts } from './parts.node.ts'
import type { WalletService } from './types.ts'

export function createWalletService({ payments, identity, shares }: Pick<NodeParts, 'payments' | 'identity' | 'shares'>): WalletService {
  const { pay } = payments
  return {
    view: () => pay.view(),
    async create({ phrase, passphrase }) {
      const words = phrase ?? identity.phrase()
      if (words === undefined) {
        throw new KithError('NO_PHRASE', 'this home keeps no recovery phrase', {}, { hint: 'kith wallet create --phrase-file FILE' })
      }
      await pay.createWallet({ phrase: words, ...(passphrase === undefined ? {} : { passphrase }) })
      return pay.view()
    },
    send: (to, wei) => pay.send(to, wei),
    receipts: async () => pay.receipts(),
    async proof(receiptId) {
      const receipt = pay.receipt(receiptId)
      if (!receipt)
        throw new KithError('UNKNOWN_RECEIPT', 'there is no receipt with this id', {}, { hint: 'kith wallet receipts lists them' })
      const found = shares.record(receipt.fileId)
      if (!found) {
        throw new KithError(
          'HASHES_MISSING',
          'the chunk hashes of this file are not here any more',
          {},
          { hint: 'kith share the file again, then ask for the proof' }
        )
      }
      return pay.proof(receiptId, found.chunkHashes)
    }
  }
}
