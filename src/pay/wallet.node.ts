/**
 * The wallet: one account, m/44'/60'/0'/0/0 of the recovery phrase, in a keystore v3 file. Its address is known at once; the key is
 * decrypted when something must be signed, is held as bytes only, and never becomes part of a string, an error or a log.
 *
 * Without a passphrase the keystore is locked by a random secret in `wallet.secret` (0600) beside it: that keeps the key out of
 * backups that carry one of the two files, not from somebody who can read both.
 */
import { existsSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { bytesToHex, equalBytes } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import { makePrivateFolder, readSecretFile, writeFileDurably } from '../platform/files.node.ts'
import { addressOfKey, type SignedTransaction, signTransaction, type UnsignedTransaction } from './chain/transaction.ts'
import { decryptKey, encryptKey, keystoreAddress, PASSPHRASE_N, SECRET_N } from './keystore.node.ts'
import { MAX_KEYSTORE_BYTES } from './limits.ts'

const FILE = 'wallet.json'
const SECRET = 'wallet.secret'
const PATH = "m/44'/60'/0'/0/0"

export interface WalletOptions {
  /** Chosen by the user; from the terminal or a file, never from an argument. */
  readonly passphrase?: string | undefined
}

export class Wallet {
  readonly address: Uint8Array
  /** False: signing would be refused with WALLET_LOCKED. */
  readonly canSign: boolean
  readonly #unlock: () => Promise<Uint8Array>
  #key: Promise<Uint8Array> | undefined

  constructor(address: Uint8Array, canSign: boolean, unlock: () => Promise<Uint8Array>) {
    this.address = address
    this.canSign = canSign
    this.#unlock = unlock
  }

  /** @throws WALLET_LOCKED, BAD_KEYSTORE */
  async sign(tx: UnsignedTransaction): Promise<SignedTransaction> {
    this.#key ??= this.#unlock()
    try {
      return await signTransaction(tx, await this.#key)
    } catch (error) {
      if (error instanceof KithError) this.#key = undefined
      throw error
    }
  }

  toJSON(): Record<string, string> {
    return { address: bytesToHex(this.address) }
  }
}

/** The wallet in `folder`; undefined when there is none. Nothing is decrypted yet. @throws BAD_KEYSTORE, KEY_FILE_MODE, KEY_FILE_EMPTY */
export function openWallet(folder: string, options: WalletOptions = {}): Wallet | undefined {
  const path = join(folder, FILE)
  if (!existsSync(path)) return undefined
  if (statSync(path).size > MAX_KEYSTORE_BYTES) throw new KithError('BAD_KEYSTORE', 'the wallet file is too large', { path })
  const json = readSecretFile(path)
  const address = keystoreAddress(json)
  if (!address) throw new KithError('BAD_KEYSTORE', 'the wallet file does not say its address', { path })
  const secretPath = join(folder, SECRET)
  const canSign = options.passphrase !== undefined || existsSync(secretPath)
  return new Wallet(address, canSign, async () => {
    if (!canSign)
      throw new KithError(
        'WALLET_LOCKED',
        'the wallet is locked',
        {},
        { hint: 'put the passphrase into a file of mode 0600 and add --wallet-passphrase-file FILE' }
      )
    const key = await decryptKey(json, options.passphrase ?? readSecretFile(secretPath).trim())
    if (!equalBytes(addressOfKey(key), address))
      throw new KithError('BAD_KEYSTORE', 'the wallet file holds another account than it says', { path })
    return key
  })
}

/** Makes the wallet of a recovery phrase. @throws WALLET_EXISTS, BAD_PHRASE */
export async function createWallet(
  folder: string,
  phrase: string,
  options: WalletOptions,
  random: (n: number) => Uint8Array
): Promise<Wallet> {
  const path = join(folder, FILE)
  if (existsSync(path)) throw new KithError('WALLET_EXISTS', `there is a wallet in ${folder}`, { path }, { hint: 'kith wallet shows it' })
  makePrivateFolder(folder)
  const key = await keyFromPhrase(phrase)
  const secretPath = join(folder, SECRET)
  if (options.passphrase === undefined) writeFileDurably(secretPath, bytesToHex(random(32)) + '\n')
  else rmSync(secretPath, { force: true }) // left by a creation that never finished: would unlock nothing
  const passphrase = options.passphrase ?? readFileSync(secretPath, 'utf8').trim()
  const address = addressOfKey(key)
  writeFileDurably(path, await encryptKey(key, address, passphrase, options.passphrase === undefined ? SECRET_N : PASSPHRASE_N))
  key.fill(0)
  return openWallet(folder, options)!
}

/** Private key of the first Ethereum account of a BIP-39 phrase. @throws BAD_PHRASE */
export async function keyFromPhrase(phrase: string): Promise<Uint8Array> {
  const [{ mnemonicToSeed, validateMnemonic }, { wordlist }, { HDKey }] = await Promise.all([
    import('@scure/bip39'),
    import('@scure/bip39/wordlists/english.js'),
    import('@scure/bip32')
  ])
  const words = phrase.normalize('NFKD').trim().toLowerCase().split(/\s+/).join(' ')
  if (!validateMnemonic(words, wordlist))
    throw new KithError('BAD_PHRASE', 'not a recovery phrase', {}, { hint: 'check the words and their order; all are in the BIP-39 list' })
  const key = HDKey.fromMasterSeed(await mnemonicToSeed(words)).derive(PATH).privateKey
  if (!key) throw new KithError('BAD_PHRASE', 'the phrase gives no key')
  return key
}
