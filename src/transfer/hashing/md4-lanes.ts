/**
 * MD4 (RFC 1320) of four equally long messages at once, one in each lane of a vector, as sha256-lanes.ts does for SHA-256: no processor
 * has instructions for MD4, so this is about three times as fast as one message after the other. For the parts of ed2k files.
 */
import { equalBytes } from '../../base/bytes.ts'
import { MD4_ROUNDS, md4 } from './md4.ts'
import { Assembler, type Local, readBlock } from './wasm-vector.ts'

/** Bytes of each message that are copied in at a time: all strips together stay in the processor's second-level cache. */
const STRIP = 16 * 1024
const STATE = 4 * STRIP
const PADDING = STATE + 4 * 16
const PAGES = 2
const LANES = 4
const BLOCK = 64
const START = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476]

/** Where each message continues, and how many blocks of each follow. */
type Compress = (p0: number, p1: number, p2: number, p3: number, blocks: number) => void

export class Md4Lanes {
  readonly #bytes: Uint8Array<ArrayBuffer>
  readonly #words: Uint32Array<ArrayBuffer>
  readonly #compress: Compress
  #length = 0

  /** @throws where there are no WebAssembly vectors, or they do not work */
  constructor() {
    const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES })
    const instance = new WebAssembly.Instance(new WebAssembly.Module(assemble()), { env: { memory } })
    this.#compress = instance.exports['compress'] as Compress
    this.#bytes = new Uint8Array(memory.buffer as ArrayBuffer)
    this.#words = new Uint32Array(memory.buffer as ArrayBuffer)
    this.#tryOut()
  }

  begin(): void {
    this.#length = 0
    for (const [i, word] of START.entries()) this.#words.fill(word, STATE / 4 + i * LANES, STATE / 4 + (i + 1) * LANES)
  }

  /** @param messages the next bytes of all four: equally many, whole blocks of 64 */
  update(messages: readonly Uint8Array[]): void {
    const length = messages[0]?.length ?? 0
    if (messages.length !== LANES || length % BLOCK !== 0 || messages.some(m => m.length !== length)) {
      throw new RangeError('four messages of one length are hashed together')
    }
    for (let at = 0; at < length; at += STRIP) {
      const n = Math.min(STRIP, length - at)
      for (const [lane, m] of messages.entries()) this.#bytes.set(m.subarray(at, at + n), lane * STRIP)
      this.#compress(0, STRIP, 2 * STRIP, 3 * STRIP, n / BLOCK)
    }
    this.#length += length
  }

  /** 16 bytes for each message, of everything since `begin`. */
  digest(): Uint8Array[] {
    const padding = new DataView(this.#bytes.buffer, PADDING, BLOCK)
    padding.setUint8(0, 0x80)
    padding.setBigUint64(BLOCK - 8, BigInt(this.#length) * 8n, true)
    this.#compress(PADDING, PADDING, PADDING, PADDING, 1)
    return Array.from({ length: LANES }, (_, lane) => {
      const digest = new Uint8Array(16)
      for (let i = 0; i < 4; i++) new DataView(digest.buffer).setUint32(4 * i, this.#words[STATE / 4 + i * LANES + lane]!, true)
      return digest
    })
  }

  #tryOut(): void {
    const messages = Array.from({ length: LANES }, (_, lane) => Uint8Array.from({ length: 2 * BLOCK }, (_, i) => 37 * i + lane))
    this.begin()
    this.update(messages)
    const digests = this.digest()
    if (!messages.every((m, lane) => equalBytes(md4(m), digests[lane]!))) throw new Error('WebAssembly vectors give a wrong MD4')
  }
}

function assemble(): Uint8Array<ArrayBuffer> {
  const asm = new Assembler('compress', 5, PAGES)
  const [pointers, blocks] = [[0, 1, 2, 3], 4]
  const [state, w, temporary, constants] = [asm.vectors(4), asm.vectors(16), asm.vectors(4), asm.vectors(3)]
  for (const [round, { constant }] of MD4_ROUNDS.entries())
    asm
      .int(constant | 0)
      .spread()
      .set(constants[round]!)
  asm.loop(() => {
    readBlock(asm, pointers, w, temporary, false)
    for (const p of pointers) asm.get(p).int(BLOCK).addInt().set(p)
    for (const [i, s] of state.entries())
      asm
        .int(0)
        .load(STATE + 16 * i)
        .set(s)
    for (let step = 0; step < 48; step++) appendStep(asm, step, state, w, temporary, constants)
    for (const [i, s] of state.entries())
      asm
        .int(0)
        .int(0)
        .load(STATE + 16 * i)
        .get(s)
        .add()
        .store(STATE + 16 * i)
    asm.get(blocks).int(1).subtractInt().tee(blocks).repeat()
  })
  return asm.module()
}

/** a = (a + f(b, c, d) + word + constant) rotated left. The four words change roles from step to step instead of moving. */
function appendStep(
  asm: Assembler,
  step: number,
  state: readonly Local[],
  w: readonly Local[],
  temporary: readonly Local[],
  constants: readonly Local[]
): void {
  const [round, i] = [Math.floor(step / 16), step % 16]
  const { shifts, words } = MD4_ROUNDS[round]!
  const role = (n: number): Local => state[(n - step + 48) % 4]!
  const [a, b, c, d] = [role(0), role(1), role(2), role(3)]
  // What is b ^ c here is c ^ d in the next step.
  const [bc, cd, sum] = [temporary[step % 2]!, temporary[1 - (step % 2)]!, temporary[2]!]
  asm.get(a).get(w[words[i]!]!).add()
  if (round > 0) asm.get(constants[round]!).add()
  if (round === 0) asm.get(c).get(d).xor().get(b).and().get(d).xor() // b ? c : d
  if (round === 1) {
    if (i === 0) asm.get(c).get(d).xor().set(cd)
    asm.get(b).get(c).xor().tee(bc).get(cd).and().get(c).xor() // what two of three say
  }
  if (round === 2) asm.get(b).get(c).get(d).xor().xor()
  const shift = shifts[i % 4]!
  asm
    .add()
    .tee(sum)
    .shiftLeft(shift)
    .get(sum)
    .shiftRight(32 - shift)
    .or()
    .set(a)
}
