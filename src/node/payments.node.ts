/** Joins `pay` with `transfer`: here, and only here, the two meet. Payments are on when this home has a wallet. */
import { randomBytes } from '#crypto'
import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/log.ts'
import type { Identity } from '../identity/identity.ts'
import type { Rpc } from '../net/rpc.ts'
import { openPay, type Pay } from '../pay/open.node.ts'
import { readSecretFile } from '../platform/files.node.ts'
import type { PaymentGate } from '../transfer/payment-gate.ts'
import type { Config } from './config.ts'

export interface Payments extends AsyncDisposable {
  readonly gate: PaymentGate
  readonly pay: Pay
}

/** @throws STORE_*, BAD_KEYSTORE, KEY_FILE_MODE, KEY_FILE_EMPTY */
export async function openPayments(
  deps: { readonly clock: Clock; readonly log: Logger; readonly rpc: Rpc; readonly identity: Identity },
  config: Config
): Promise<Payments> {
  const { identity, clock, log, rpc } = deps
  const { passphraseFile } = config.pay
  const { chainId, rpcUrls, settlement, confirmations } = config.chain
  const pay = await openPay(
    {
      clock,
      log,
      rpcHost: rpc,
      random: randomBytes,
      folder: `${config.folders.data}/pay`,
      identity: { instanceKey: identity.instance.key, sign: identity.sign.bind(identity) }
    },
    {
      chain: { chainId, rpcUrls, ...(settlement ? { settlement } : {}), ...(confirmations === undefined ? {} : { confirmations }) },
      passphrase: passphraseFile === undefined ? undefined : readSecretFile(passphraseFile).split('\n', 1)[0]?.trim(),
      budgetWeiPerDay: config.pay.budgetWeiPerDay === undefined ? undefined : BigInt(config.pay.budgetWeiPerDay),
      ...(config.pay.creditBytes === undefined ? {} : { credit: { creditBytes: config.pay.creditBytes } })
    }
  )
  return { gate: pay.gate, pay, [Symbol.asyncDispose]: () => pay[Symbol.asyncDispose]() }
}
