/** `kith wallet`: the coin of this home. Payments are off until a wallet exists. */
import { resolve } from 'node:path'
import type { CreateWalletRequest } from '../../api/node-client.ts'
import type { ReceiptView } from '../../node/types.ts'
import { writeFileDurably } from '../../platform/files.node.ts'
import { parseCoin } from '../../wire/wei.ts'
import type { Context, Register } from '../context.ts'
import { clean, formatBytes, formatPrice, formatWei } from '../format.ts'
import { openSession } from '../session.ts'
import { askSecret, passphraseOf, readFileLine, readStdinLine } from '../terminal-input.ts'
import { pad } from '../text-width.ts'
import { moneyLines } from './status.ts'

interface SecretOptions {
  readonly passphrase?: boolean
  readonly passphraseFile?: string
  readonly phraseFile?: string
}

const EXAMPLES = `
Examples:
  kith wallet create                          from the recovery phrase of this home
  kith wallet restore --phrase-file words.txt from another one; without the option it asks on the terminal
  kith wallet send 0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045 0.5
  kith wallet proof RECEIPT -o proof.json     a proof that others can check without this node
Phrases and passphrases are never taken from the command line: others could read them there.`

export const register: Register = (program, act) => {
  const wallet = program
    .command('wallet')
    .description('create a wallet, see its balance and receipts, send coin')
    .addHelpText('after', EXAMPLES)
  wallet.command('show').description('address, balance, and what is owed and earned').action(act(show))
  wallet
    .command('create')
    .description('create the wallet of this home; payments are off until there is one')
    .option('--passphrase', 'ask for a passphrase that locks it')
    .option('--passphrase-file <file>', 'read that passphrase from a file')
    .action(act(create))
  wallet
    .command('restore')
    .description('create the wallet from a recovery phrase that you have')
    .argument('[source]', "'-' reads the phrase from stdin")
    .option('--phrase-file <file>', 'read the phrase from a file')
    .option('--passphrase', 'ask for a passphrase that locks it')
    .option('--passphrase-file <file>', 'read that passphrase from a file')
    .action(act(restore))
  wallet
    .command('send')
    .description('transfer coin')
    .argument('<address>', 'wallet address, 0x…')
    .argument('<amount>', 'coin, for example 0.5')
    .action(act(send))
  wallet.command('receipts').description('what was delivered, to whom it is owed, and what is paid').action(act(receipts))
  wallet
    .command('proof')
    .description('a transfer proof that a third party can check alone')
    .argument('<receipt>', 'receipt id from kith wallet receipts')
    .option('-o, --output <file>', 'write it to a file')
    .action(act(proof))
}

async function show(context: Context): Promise<undefined> {
  await using session = await openSession(context, { serve: false })
  const view = await session.client.wallet(context.lifetime.signal)
  context.output.result(view, () => moneyLines(view))
}

const create = (context: Context, options: SecretOptions): Promise<undefined> => make(context, options, undefined)

async function restore(context: Context, source: string | undefined, options: SecretOptions): Promise<undefined> {
  const { signal } = context.lifetime
  const phrase =
    options.phraseFile !== undefined
      ? readFileLine(options.phraseFile)
      : source === '-'
        ? await readStdinLine()
        : await askSecret('Recovery phrase (not shown): ', 'use --phrase-file FILE, or - for stdin', signal)
  return await make(context, options, phrase)
}

async function make(context: Context, options: SecretOptions, phrase: string | undefined): Promise<undefined> {
  const secret = await passphraseOf(options, 'Passphrase for the wallet', context.lifetime.signal)
  await using session = await openSession(context, { serve: false })
  const request: CreateWalletRequest = { ...(phrase === undefined ? {} : { phrase }), ...secret }
  const { phrase: made, ...view } = await session.client.createWallet(request, context.lifetime.signal)
  // The words are shown to a person at a terminal only; they are kept in this home in any case.
  const words = made !== undefined && process.stdout.isTTY === true ? ['', `Recovery phrase, write it down: ${made}`] : []
  context.output.result(view, () => [...moneyLines(view), ...words, 'The recovery phrase of this home restores it: kith id phrase'])
}

async function send(context: Context, to: string, amount: string): Promise<undefined> {
  const wei = parseCoin(amount).toString()
  await using session = await openSession(context, { serve: false })
  const sent = await session.client.send({ to, wei }, context.lifetime.signal)
  context.output.result({ ...sent, to, wei }, () => [`Sent ${formatWei(wei)} to ${clean(to, 60)}, transaction ${clean(sent.tx, 80)}`])
}

async function receipts(context: Context): Promise<undefined> {
  await using session = await openSession(context, { serve: false })
  const list = await session.client.receipts(context.lifetime.signal)
  context.output.result({ receipts: list }, () => (list.length === 0 ? ['No receipts yet.'] : list.map(receiptLine)))
}

function receiptLine(r: ReceiptView): string {
  const way = r.role === 'payer' ? 'we owe' : 'owed to us'
  const state = `${r.state}${r.countersigned ? ', both signed' : ''}`
  return `${clean(r.id, 80)}  ${pad(way, 10)}  ${formatWei(r.amountWei)}  ${formatBytes(r.bytes)} at ${formatPrice(r.pricePerMb)}  ${state}  ${clean(r.counterparty, 60)}`
}

async function proof(context: Context, id: string, options: { readonly output?: string }): Promise<undefined> {
  await using session = await openSession(context, { serve: false })
  const value = await session.client.proof(id, context.lifetime.signal)
  if (options.output === undefined) {
    context.output.result(value, () => JSON.stringify(value, null, 2).split('\n'))
    return
  }
  const path = resolve(options.output)
  writeFileDurably(path, `${JSON.stringify(value, null, 2)}\n`, 0o644)
  context.output.result({ path }, () => [`Written to ${path}`])
}
