/** Addresses, keystores and signatures against third-party vectors; hostile wallet files (threats PY13); the key stays where it is (PY14). */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import fc from 'fast-check'
import { MemoryNet, openPeer, phrases, tempFolder } from '../../test/kits/pay.ts'
import { bytesToHex, hexToBytes } from '../base/bytes.ts'
import { codeOf, KithError, textOf } from '../base/errors.ts'
import { createLogger } from '../base/log.ts'
import { randomBytes } from '../platform/crypto.node.ts'
import { formatAddress, parseAddress } from './address.ts'
import { addressOfKey, signTransaction } from './chain/transaction.ts'
import { decryptKey, encryptKey } from './keystore.node.ts'
import { createWallet, keyFromPhrase, openWallet } from './wallet.node.ts'

const vectors = (name: string): Record<string, unknown> =>
  JSON.parse(readFileSync(join(import.meta.dirname, '..', '..', 'test', 'vectors', 'ethereum', name), 'utf8'))
const bad = (e: unknown): boolean => codeOf(e) === 'BAD_KEYSTORE'

// test vectors of the Web3 Secret Storage definition; the key of both is the same
const KEY = '7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d'
const PBKDF2 = {
  version: 3,
  id: '3198bc9c-6672-5ab3-d995-4942343ae5b6',
  crypto: {
    cipher: 'aes-128-ctr',
    cipherparams: { iv: '6087dab2f9fdbbfaddc31a909735c1e6' },
    ciphertext: '5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46',
    kdf: 'pbkdf2',
    kdfparams: { c: 262144, dklen: 32, prf: 'hmac-sha256', salt: 'ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd' },
    mac: '517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2'
  }
}
const SCRYPT = {
  ...PBKDF2,
  crypto: {
    cipher: 'aes-128-ctr',
    cipherparams: { iv: '83dbcc02d8ccb40e466191a123791e0e' },
    ciphertext: 'd172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c',
    kdf: 'scrypt',
    kdfparams: { dklen: 32, n: 262144, r: 1, p: 8, salt: 'ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19' },
    mac: '2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097'
  }
}

test('EIP-55 vectors are accepted, the wrong ones of spec 004 refused', () => {
  const { valid, invalid_from_seed_004: invalid } = vectors('eip55.json') as Record<string, string[]>
  for (const a of valid!) assert.equal(formatAddress(parseAddress(a)), a)
  for (const a of [...invalid!, `0x${'0'.repeat(40)}`, '', '0x', `${valid![0]} `, valid![0]!.replace('A', 'a')])
    assert.throws(
      () => parseAddress(a),
      e => codeOf(e) === 'INVALID_ADDRESS',
      a
    )
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 20, maxLength: 20 }).filter(b => b.some(x => x > 0)),
      b => assert.deepEqual(parseAddress(formatAddress(b)), b)
    )
  )
})

test('the first account of a recovery phrase is the one every Ethereum wallet shows', async () => {
  assert.equal(formatAddress(addressOfKey(await keyFromPhrase(phrases[0]))), '0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266')
  assert.deepEqual(await keyFromPhrase(`  ${phrases[0].toUpperCase().replaceAll(' ', '\n')} `), await keyFromPhrase(phrases[0]))
  await assert.rejects(keyFromPhrase('test test test'), e => codeOf(e) === 'BAD_PHRASE')
})

test('EIP-155 vectors: signatures carry the chain id', async () => {
  const v = vectors('eip155.json') as {
    privateKey: string
    tx: { nonce: number; gasPrice: string; gasLimit: string; to: string; value: string }
  } & Record<string, { signed: string }>
  for (const [name, chainId] of [
    ['chain1', 1],
    ['chain98765', 98765]
  ] as const) {
    const { raw } = await signTransaction(
      {
        chainId,
        nonce: v.tx.nonce,
        to: hexToBytes(v.tx.to.slice(2)),
        value: BigInt(v.tx.value),
        data: new Uint8Array(),
        gas: BigInt(v.tx.gasLimit),
        fees: { maxPerGas: BigInt(v.tx.gasPrice), tip: undefined }
      },
      hexToBytes(v.privateKey.slice(2))
    )
    assert.equal(`0x${bytesToHex(raw)}`, v[name]!.signed)
  }
})

test('keystores of the Web3 Secret Storage definition open, and only with their passphrase', async () => {
  for (const v of [PBKDF2, SCRYPT]) {
    assert.equal(bytesToHex(await decryptKey(JSON.stringify(v), 'testpassword')), KEY)
  }
  await assert.rejects(decryptKey(JSON.stringify(PBKDF2), 'testpasswore'), bad)
})

test('a keystore that asks for too much, or is broken in any field, is refused before it costs anything', async () => {
  const changed = (path: string, value: unknown): string => {
    const copy = structuredClone(SCRYPT) as Record<string, unknown>
    const keys = path.split('.')
    const owner = keys.slice(0, -1).reduce((o, k) => o[k] as Record<string, unknown>, copy)
    owner[keys.at(-1)!] = value
    return JSON.stringify(copy)
  }
  const started = performance.now()
  const cases = [
    ...[2 ** 30, 2 ** 19, 0, -1, 1, 1000, 1.5, '262144', null].map(n => changed('crypto.kdfparams.n', n)),
    ...[2 ** 20, 0, 65].map(r => changed('crypto.kdfparams.r', r)),
    changed('crypto.kdfparams.r', 16), // 512 MiB
    changed('crypto.kdfparams.p', 2 ** 20),
    changed('crypto.kdfparams.dklen', 64),
    changed('crypto.kdf', 'argon2id'),
    changed('crypto.cipher', 'aes-256-gcm'),
    changed('crypto.ciphertext', 'zz'),
    changed('crypto.ciphertext', ''),
    changed('version', 4),
    changed('crypto', null),
    '[]',
    'null',
    '{',
    '',
    '['.repeat(60_000),
    ' '.repeat(65_537)
  ]
  for (const json of cases) await assert.rejects(decryptKey(json, 'testpassword'), bad, json.slice(0, 80))
  assert.ok(performance.now() - started < 20_000, 'nothing was computed')
  await fc.assert(
    fc.asyncProperty(fc.json(), async json => {
      await assert.rejects(decryptKey(json, 'x'), e => e instanceof KithError && e.code === 'BAD_KEYSTORE')
    })
  )
})

test('an encrypted key round-trips', async () => {
  const key = randomBytes(32)
  assert.deepEqual(await decryptKey(await encryptKey(key, addressOfKey(key), 'pässword', 1024), 'pässword'), key)
})

test('wallet files are private, never overwritten, and locked without their passphrase', async () => {
  using folder = tempFolder()
  const wallet = await createWallet(folder.path, phrases[1], {}, randomBytes)
  for (const f of readdirSync(folder.path)) assert.equal(statSync(join(folder.path, f)).mode & 0o777, 0o600, f)
  await assert.rejects(createWallet(folder.path, phrases[2], {}, randomBytes), e => codeOf(e) === 'WALLET_EXISTS')
  assert.deepEqual(openWallet(folder.path)?.address, wallet.address)
  using second = tempFolder()
  await createWallet(second.path, phrases[1], { passphrase: 'correct horse' }, randomBytes)
  const locked = openWallet(second.path)
  assert.equal(locked?.canSign, false)
  const tx = {
    chainId: 98765,
    nonce: 0,
    to: undefined,
    value: 0n,
    data: new Uint8Array(),
    gas: 21_000n,
    fees: { maxPerGas: 1n, tip: undefined }
  }
  await assert.rejects(locked!.sign(tx), e => codeOf(e) === 'WALLET_LOCKED')
  await assert.rejects(openWallet(second.path, { passphrase: 'wrong' })!.sign(tx), bad)
  assert.match((await openWallet(second.path, { passphrase: 'correct horse' })!.sign(tx)).hash, /^0x[0-9a-f]{64}$/)
  writeFileSync(join(second.path, 'wallet.json'), '')
  assert.throws(
    () => openWallet(second.path),
    e => codeOf(e) === 'KEY_FILE_EMPTY'
  )
})

test('no key, phrase or secret is in the ledger, in logs or in errors', async () => {
  using folder = tempFolder()
  const lines: string[] = []
  const log = createLogger(line => lines.push(line), 'debug')
  const key = await keyFromPhrase(phrases[1])
  const said: string[] = []
  {
    const options = {
      chain: { chainId: 98765, rpcUrls: ['http://user:canary-of-the-url@127.0.0.1:1/canary-of-the-path'] },
      background: { minMs: 60_000 }
    }
    await using alice = await openPeer(new MemoryNet(), folder.path, 'alice', 1, options, { log })
    for (const attempt of [
      () => alice.pay.send('0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed', '1'),
      () => alice.pay.createWallet({ phrase: phrases[1] })
    ]) {
      const error = await attempt().then(
        () => undefined,
        (e: unknown) => e
      )
      assert.ok(error instanceof KithError)
      said.push(textOf(error), JSON.stringify(error), String(error.stack))
    }
    said.push(JSON.stringify(await alice.pay.view()), JSON.stringify(alice.pay))
  }
  const secret = readFileSync(join(folder.path, 'alice', 'wallet.secret'), 'utf8').trim()
  const canaries = [bytesToHex(key), Buffer.from(key).toString('base64'), phrases[1], secret, 'canary-of-the-url', 'canary-of-the-path']
  const files = readdirSync(join(folder.path, 'alice')).filter(f => f !== 'wallet.secret')
  for (const canary of canaries) {
    for (const text of [...lines, ...said]) assert.ok(!text.includes(canary), text)
    for (const f of files) {
      const bytes = readFileSync(join(folder.path, 'alice', f))
      assert.ok(!bytes.includes(canary) && !bytes.includes(Buffer.from(key)), `${f} holds a secret`)
    }
  }
  assert.ok(lines.length > 0 && files.includes('pay.db'))
})
