/** The private chain of `kith chain up`, with its state in this home. */

import { bytesToHex } from '../base/bytes.ts'
import type { Logger } from '../base/log.ts'
import { parseAddress } from '../pay/address.ts'
import { openLocalChain } from '../pay/local-chain.node.ts'
import { localSettlement } from '../pay/networks.ts'
import { type Config, defaultPorts } from './config.ts'

export interface RunningChain extends AsyncDisposable {
  /** URL of its JSON-RPC. */
  readonly rpc: string
  readonly chainId: number
  readonly settlement: { readonly address: string; readonly codeHash: string }
  /** Gives coin to a wallet (0x…). @returns the transaction's hash @throws INVALID_ADDRESS, RPC_ERROR */
  fund(address: string, wei: bigint): Promise<string>
  /** Resolves when the chain's process has ended. */
  readonly ended: Promise<void>
}

/** @throws CHAIN_BINARY_MISSING, CHAIN_START_FAILED */
export async function startLocalChain(config: Config, options: { readonly log: Logger; readonly port?: number }): Promise<RunningChain> {
  const chain = await openLocalChain(
    { log: options.log },
    { statePath: `${config.folders.data}/chain/state.json`, port: options.port ?? defaultPorts.rpc }
  )
  const { address, codeHash } = localSettlement()
  return {
    rpc: chain.url,
    chainId: chain.chainId,
    settlement: { address: `0x${bytesToHex(address)}`, codeHash: `0x${codeHash}` },
    fund: (to, wei) => chain.fund(parseAddress(to), wei),
    ended: chain.ended,
    [Symbol.asyncDispose]: () => chain[Symbol.asyncDispose]()
  }
}
