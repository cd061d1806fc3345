/** What libp2p's Noise does at its last nonce (threats HS8): a real connection whose cipher states are moved there. */
import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import { noise } from '@libp2p/noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { createLibp2p } from 'libp2p'
import { eventually } from '../../test/kits/transfer-doubles.ts'
import { bytesToHex } from '../base/bytes.ts'

/** What is used of the library's insides. */
interface Nonce {
  getBytes(): Uint8Array
  getUint64(): number
}
interface CipherState {
  k: Uint8Array | undefined
  n: Nonce
  encryptWithAd(ad: Uint8Array, plain: Uint8Array): Uint8Array
  decryptWithAd(ad: Uint8Array, sealed: Uint8Array, out?: Uint8Array): Uint8Array
}
const inside = async <T>(file: string): Promise<T> => (await import(new URL(file, import.meta.resolve('@libp2p/noise')).href)) as T

const PROTOCOL = '/end/1'
/** Messages that are still possible. */
const LEFT = 40

async function open(t: TestContext, listen: string[]) {
  const node = await createLibp2p({
    addresses: { listen },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionGater: { denyDialMultiaddr: () => false }
  })
  t.after(() => node.stop())
  return node
}

test('HS8: at the last nonce of Noise nothing more is encrypted, no nonce comes twice, and the connection ends', async t => {
  const { CipherState } = await inside<{ CipherState: { readonly prototype: CipherState } }>('protocol.js')
  const { Nonce, MAX_NONCE } = await inside<{ Nonce: new (n: number) => Nonce; MAX_NONCE: number }>('nonce.js')
  const { encryptWithAd, decryptWithAd } = CipherState.prototype
  t.after(() => Object.assign(CipherState.prototype, { encryptWithAd, decryptWithAd }))
  const states = new Set<CipherState>()
  const used: string[] = []
  let last = 0
  const refusals: string[] = []
  CipherState.prototype.encryptWithAd = function (...args) {
    states.add(this)
    const [nonce, number] = [bytesToHex(this.n.getBytes()), this.n.getUint64()]
    try {
      const sealed = encryptWithAd.apply(this, args)
      if (this.k) used.push(`${bytesToHex(this.k)} ${nonce}`)
      last = Math.max(last, number)
      return sealed
    } catch (error) {
      refusals.push(String(error))
      throw error
    }
  }
  CipherState.prototype.decryptWithAd = function (...args) {
    states.add(this)
    return decryptWithAd.apply(this, args)
  }
  const [a, b] = [await open(t, ['/ip4/127.0.0.1/tcp/0']), await open(t, [])]
  let came = 0
  await a.handle(PROTOCOL, stream => stream.addEventListener('message', () => came++))
  const connection = await b.dial(a.getMultiaddrs())
  const stream = await connection.newStream(PROTOCOL)
  stream.send(Uint8Array.of(1))
  await eventually('a message', () => came === 1)
  assert.equal(connection.encryption, '/noise')
  // The four of the connection are among them; those of the handshake are not used any more.
  for (const state of states) state.n = new Nonce(MAX_NONCE - LEFT)
  used.length = 0
  for (let i = 0; i < 3 * LEFT && connection.status === 'open'; i++) {
    try {
      stream.send(Uint8Array.of(2))
    } catch {
      // It is over.
    }
    await new Promise(resolve => setImmediate(resolve))
  }
  await eventually('the connection to end', () => connection.status !== 'open' && a.getConnections().length === 0)
  assert.ok(came > 1 && came <= LEFT + 2, `${came} came`)
  assert.equal(last, MAX_NONCE)
  assert.equal(new Set(used).size, used.length, 'no nonce twice under one key')
  assert.match(refusals[0] ?? '', /reached maximum n/)
})
