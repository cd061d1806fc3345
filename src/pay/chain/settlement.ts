/** The contract that pays several payees at once (contracts/BatchSettlement.sol): calls, event, and the check that it is ours. */
import { keccak_256 } from '@noble/hashes/sha3.js'
import { bytesToHex, concatBytes, equalBytes, hexToBytes, utf8 } from '../../base/bytes.ts'
import { KithError } from '../../base/errors.ts'
import type { ChainReceipt, ChainSession } from './session.ts'

/** Where it is on one chain. Comes from configuration only, never from a peer. */
export interface SettlementContract {
  readonly address: Uint8Array
  /** keccak-256 of the deployed code, hex without 0x. */
  readonly codeHash: string
}

export interface Share {
  readonly to: Uint8Array
  readonly amount: bigint
}

const SETTLE = 'function settleOnce(bytes32 invoiceId, (address to, uint256 amount)[] shares) payable'
const PAID_TOPIC = keccak_256(utf8('Paid(address,address,bytes32,uint256)'))
const SETTLED_SELECTOR = keccak_256(utf8('settled(address,bytes32)')).slice(0, 4)

/** Gas that suffices whatever the payees do: each push may burn 30,000, touch a new account and be credited instead. */
export const settleGas = (payees: number): bigint => 50_000n + 95_000n * BigInt(payees)

/** Call data of `settleOnce`; its value must be the sum of the shares. */
export async function encodeSettleOnce(invoiceId: Uint8Array, shares: readonly Share[]): Promise<Uint8Array> {
  const { encodeFunctionData, parseAbi } = await import('viem')
  const args = [`0x${bytesToHex(invoiceId)}`, shares.map(s => ({ to: `0x${bytesToHex(s.to)}` as const, amount: s.amount }))] as const
  return hexToBytes(encodeFunctionData({ abi: parseAbi([SETTLE]), args }).slice(2))
}

/** @throws SETTLEMENT_MISMATCH when the chain has other code at that address, or none */
export async function checkCode(session: ChainSession, contract: SettlementContract): Promise<void> {
  const code = await session.code(contract.address)
  if (bytesToHex(keccak_256(code)) !== contract.codeHash) {
    throw new KithError(
      'SETTLEMENT_MISMATCH',
      code.length === 0 ? 'the settlement contract is not on this chain' : 'the settlement contract has other code than expected',
      { address: `0x${bytesToHex(contract.address)}`, chainId: session.chainId }
    )
  }
}

/** Whether the contract has already settled this invoice for this payer: the guard against paying twice. */
export async function isSettled(
  session: ChainSession,
  contract: SettlementContract,
  payer: Uint8Array,
  invoiceId: Uint8Array
): Promise<boolean> {
  const word = await session.read(contract.address, concatBytes(SETTLED_SELECTOR, new Uint8Array(12), payer, invoiceId))
  return word.length === 32 && word[31] === 1
}

/** The log by which `payer` paid `payee` for this invoice through the contract; undefined when there is none. */
export function findPaid(
  receipt: ChainReceipt,
  contract: SettlementContract,
  who: { readonly payer: Uint8Array; readonly payee: Uint8Array; readonly invoiceId: Uint8Array }
): { readonly amount: bigint; readonly logIndex: number } | undefined {
  const wanted = [PAID_TOPIC, pad(who.payer), pad(who.payee), who.invoiceId]
  for (const log of receipt.logs) {
    if (!equalBytes(log.address, contract.address) || log.topics.length !== 4 || log.data.length !== 32) continue
    if (log.topics.every((t, i) => equalBytes(t, wanted[i]!))) return { amount: BigInt(`0x${bytesToHex(log.data)}`), logIndex: log.index }
  }
  return undefined
}

const pad = (address: Uint8Array): Uint8Array => concatBytes(new Uint8Array(12), address)
