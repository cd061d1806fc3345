/** Chains Kith knows by itself. Everything else comes from configuration, never from a peer. */
import { hexToBytes } from '../base/bytes.ts'
import type { SettlementContract } from './chain/settlement.ts'
import { SETTLEMENT_ADDRESS, SETTLEMENT_CODE_HASH } from './chain/settlement-artefact.ts'

/** Chain id of spec 004. */
export const LOCAL_CHAIN_ID = 98765

export interface ChainOptions {
  readonly chainId: number
  /** JSON-RPC endpoints, tried in this order. */
  readonly rpcUrls: readonly string[]
  /** Where the settlement contract is: 0x… and keccak-256 of its code. By default its CREATE2 address; null: pay one by one. */
  readonly settlement?: { readonly address: string; readonly codeHash: string } | null
  /** Blocks on top, its own included, before money counts. */
  readonly confirmations?: number
  /** Time between looks at the chain while a payment is under way. */
  readonly pollMs?: number
  /** Most wei a unit of gas may cost. */
  readonly maxGasPriceWei?: bigint
}

/** Kith's contract: the same code, hence the same CREATE2 address, on every chain. */
export const localSettlement = (): SettlementContract => contractOf(SETTLEMENT_ADDRESS, SETTLEMENT_CODE_HASH)

export const contractOf = (address: string, codeHash: string): SettlementContract => ({
  address: hexToBytes(address.slice(2)),
  codeHash: codeHash.slice(2).toLowerCase()
})

export interface ChainConfig {
  readonly chainId: number
  readonly settlement: SettlementContract | undefined
  readonly confirmations: number
  readonly pollMs: number
  readonly maxGasPriceWei: bigint
}

/** Options with their defaults: 1 confirmation on the private chain, 12 (three minutes at 15 s) anywhere else. */
export function chainConfig(o: ChainOptions): ChainConfig {
  const local = o.chainId === LOCAL_CHAIN_ID
  return {
    chainId: o.chainId,
    settlement:
      o.settlement === null ? undefined : o.settlement ? contractOf(o.settlement.address, o.settlement.codeHash) : localSettlement(),
    confirmations: o.confirmations ?? (local ? 1 : 12),
    pollMs: o.pollMs ?? (local ? 50 : 3_000),
    maxGasPriceWei: o.maxGasPriceWei ?? 20_000_000_000n
  }
}
