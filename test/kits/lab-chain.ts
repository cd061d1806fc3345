/** A local chain, and wallets in the homes of a lab. */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { formatAddress } from '../../src/pay/address.ts'
import { createWallet } from '../../src/pay/wallet.node.ts'
import type { Lab } from './lab.ts'
import { phrases } from './pay.ts'
import type { Process } from './process.ts'

export const COIN: bigint = 10n ** 18n

/** @param at URL of a chain that was here before: the same port and state */
export async function chainUp(lab: Lab, at?: string): Promise<{ readonly rpc: string; readonly process: Process }> {
  const process = lab.start('chain', ['chain', 'up', '--json', '--rpc-port', at === undefined ? '0' : new URL(at).port])
  const ready = await process.line('ready')
  if (ready['chainId'] !== 98765) throw new Error(`another chain: ${ready['chainId']}`)
  return { rpc: String(ready['rpc']), process }
}

/** Makes the wallet of a home as `kith wallet create` does, without opening a node for it. @returns its address */
export async function walletIn(lab: Lab, home: string, phrase: number): Promise<string> {
  return formatAddress((await createWallet(join(lab.dir(home, 'data'), 'pay'), phrases[phrase]!, {}, randomBytes)).address)
}

export async function call(rpc: string, method: string, ...params: unknown[]): Promise<string> {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
  const answer = await fetch(rpc, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
  return ((await answer.json()) as { result: string }).result
}
/** Gives an address one coin. */
export const fund = (rpc: string, address: string): Promise<string> => call(rpc, 'anvil_setBalance', address, `0x${COIN.toString(16)}`)
export const balance = async (rpc: string, address: string): Promise<bigint> => BigInt(await call(rpc, 'eth_getBalance', address, 'latest'))
