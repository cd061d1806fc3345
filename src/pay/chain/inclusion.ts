/** Where a transaction stands in the best chain. */
import type { ChainReceipt, ChainSession } from './session.ts'

export type Inclusion =
  | { readonly state: 'absent' }
  | {
      readonly state: 'mined'
      readonly receipt: ChainReceipt
      /** Blocks from its own to the head, both counted: 1 is the head itself. */
      readonly depth: number
    }

/**
 * Looks a transaction up and checks that its block is the one at that height: endpoints that sit on a stale branch (or lie
 * carelessly) show receipts of blocks that are not in their own chain. @throws RPC_ERROR
 */
export async function locate(session: ChainSession, hash: string): Promise<Inclusion> {
  const receipt = await session.receipt(hash)
  if (!receipt) return { state: 'absent' }
  const head = await session.blockNumber()
  if (receipt.blockNumber > head || (await session.blockHash(receipt.blockNumber)) !== receipt.blockHash) return { state: 'absent' }
  return { state: 'mined', receipt, depth: head - receipt.blockNumber + 1 }
}
