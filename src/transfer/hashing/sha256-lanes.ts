/**
 * SHA-256 of four equally long messages at once: each of the four 32-bit lanes of a vector holds one message, so the rounds of
 * FIPS 180-4 §6.2 are written once and run for all four. Where the processor has no SHA instructions this takes about two thirds of
 * OpenSSL's time per byte; where it has them OpenSSL is far ahead (chunk-hasher.node.ts measures and chooses).
 *
 * The program is WebAssembly that is assembled here, from the formulas, when it is first needed: there is nothing opaque to trust.
 * Its memory: 4 strips of input, the state (8 vectors), the round constants, one block of padding.
 */
import { Assembler, type Local, readBlock } from './wasm-vector.ts'

/** Bytes of each message that are copied in at a time: all strips together stay in the processor's second-level cache. */
const STRIP = 16 * 1024
const STATE = 4 * STRIP
const CONSTANTS = STATE + 8 * 16
const PADDING = CONSTANTS + 64 * 4
const PAGES = 2
const LANES = 4
const BLOCK = 64

/** Where each message continues, and how many blocks of each follow. */
type Compress = (p0: number, p1: number, p2: number, p3: number, blocks: number) => void

type Copy = (target: Uint8Array, at: number, source: Uint8Array) => void

export class Sha256Lanes {
  readonly #bytes: Uint8Array<ArrayBuffer>
  readonly #words: Uint32Array<ArrayBuffer>
  readonly #compress: Compress
  readonly #copy: Copy

  /** @param copy copies a message's bytes; for runtimes that have a faster way out of shared memory. @throws where there are no WebAssembly vectors */
  constructor(copy: Copy = (target, at, source) => target.set(source, at)) {
    this.#copy = copy
    const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES })
    const instance = new WebAssembly.Instance(new WebAssembly.Module(assemble()), { env: { memory } })
    this.#compress = instance.exports['compress'] as Compress
    this.#bytes = new Uint8Array(memory.buffer as ArrayBuffer)
    this.#words = new Uint32Array(memory.buffer as ArrayBuffer)
    this.#words.set(firstBitsOfRoots(64, Math.cbrt), CONSTANTS / 4)
  }

  /** Whether four messages of this length can be hashed together. */
  static takes(length: number): boolean {
    return length > 0 && length % BLOCK === 0 && length < 2 ** 29
  }

  /** @param messages four of the same length, which `takes` allows; they may be in shared memory. @returns their digests */
  hash(messages: readonly Uint8Array[]): Uint8Array[] {
    const length = messages[0]!.length
    if (messages.length !== LANES || messages.some(m => m.length !== length) || !Sha256Lanes.takes(length)) {
      throw new RangeError('four messages of one length are hashed together')
    }
    for (const [i, word] of firstBitsOfRoots(8, Math.sqrt).entries())
      this.#words.fill(word, STATE / 4 + i * LANES, STATE / 4 + (i + 1) * LANES)
    for (let at = 0; at < length; at += STRIP) {
      const n = Math.min(STRIP, length - at)
      for (const [lane, m] of messages.entries()) this.#copy(this.#bytes, lane * STRIP, m.subarray(at, at + n))
      this.#compress(0, STRIP, 2 * STRIP, 3 * STRIP, n / BLOCK)
    }
    this.#pad(length)
    return messages.map((_, lane) => this.#digest(lane))
  }

  /** The last block is the same for all: a one bit, zeros, the length in bits. */
  #pad(length: number): void {
    const block = new DataView(this.#bytes.buffer, PADDING, BLOCK)
    block.setUint8(0, 0x80)
    block.setUint32(BLOCK - 4, length * 8)
    this.#compress(PADDING, PADDING, PADDING, PADDING, 1)
  }

  #digest(lane: number): Uint8Array {
    const digest = new Uint8Array(32)
    const view = new DataView(digest.buffer)
    for (let i = 0; i < 8; i++) view.setUint32(4 * i, this.#words[STATE / 4 + i * LANES + lane]!)
    return digest
  }
}

/** The first 32 bits of the fractional parts of the roots of the first `count` primes (FIPS 180-4 §4.2.2, §5.3.3). */
function firstBitsOfRoots(count: number, root: (n: number) => number): number[] {
  const primes: number[] = []
  for (let n = 2; primes.length < count; n++) if (primes.every(p => n % p !== 0)) primes.push(n)
  return primes.map(p => Math.floor((root(p) % 1) * 2 ** 32))
}

interface Locals {
  readonly pointers: readonly Local[]
  readonly blocks: Local
  readonly constants: Local
  /** The working variables a … h; they change roles from round to round instead of moving. */
  readonly state: readonly Local[]
  readonly w: readonly Local[]
  readonly temporary: readonly Local[]
}

function assemble(): Uint8Array<ArrayBuffer> {
  const asm = new Assembler('compress', 5, PAGES)
  const locals: Locals = {
    pointers: [0, 1, 2, 3],
    blocks: 4,
    constants: asm.integer(),
    state: asm.vectors(8),
    w: asm.vectors(16),
    temporary: asm.vectors(4)
  }
  const { state, blocks, constants, pointers } = locals
  asm.loop(() => {
    readBlock(asm, pointers, locals.w, locals.temporary, true)
    for (const p of pointers) asm.get(p).int(BLOCK).addInt().set(p)
    for (const [i, s] of state.entries())
      asm
        .int(0)
        .load(STATE + 16 * i)
        .set(s)
    asm.int(CONSTANTS).set(constants)
    asm.loop(() => {
      rounds(asm, locals, true)
      asm.get(constants).int(BLOCK).addInt().set(constants)
      asm
        .get(constants)
        .int(CONSTANTS + 3 * BLOCK)
        .differ()
        .repeat()
    })
    rounds(asm, locals, false)
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

/** Sixteen rounds; with `schedule`, each w[i] is replaced by the word of sixteen rounds later once it was used. */
function rounds(asm: Assembler, { state, w, temporary, constants }: Locals, schedule: boolean): void {
  const [even, odd, t1] = [temporary[0]!, temporary[1]!, temporary[2]!]
  asm.get(state[1]!).get(state[2]!).xor().set(odd)
  for (let i = 0; i < 16; i++) {
    const role = (n: number): Local => state[(n - i + 16) % 8]!
    const [a, b, d, e, f, g, h] = [role(0), role(1), role(3), role(4), role(5), role(6), role(7)]
    const [ab, bc] = i % 2 === 0 ? [even, odd] : [odd, even] // this round's a ^ b is the next one's b ^ c
    asm
      .get(h)
      .get(constants)
      .loadSame(4 * i)
      .get(w[i]!)
      .add()
      .add()
    asm.get(f).get(g).xor().get(e).and().get(g).xor().add() // Ch(e, f, g)
    sigma(asm, e, [6, 11, 25]).add().set(t1)
    asm.get(d).get(t1).add().set(d)
    asm.get(a).get(b).xor().tee(ab).get(bc).and().get(b).xor().get(t1).add() // Maj(a, b, c)
    sigma(asm, a, [2, 13, 22]).add().set(h)
    if (!schedule) continue
    const word = (n: number): Local => w[(i + n) % 16]!
    asm.get(word(0)).get(word(9)).add()
    sigma(asm, word(1), [7, 18], 3).add()
    sigma(asm, word(14), [17, 19], 10).add().set(word(0))
  }
}

/** x rotated right by each of `turns`, and shifted right by `shift`, all exclusive-ored. */
function sigma(asm: Assembler, x: Local, turns: readonly number[], shift?: number): Assembler {
  for (const [i, n] of turns.entries()) {
    asm.get(x).shiftRight(n)
    if (i > 0) asm.xor()
    asm
      .get(x)
      .shiftLeft(32 - n)
      .xor()
  }
  return shift === undefined ? asm : asm.get(x).shiftRight(shift).xor()
}
