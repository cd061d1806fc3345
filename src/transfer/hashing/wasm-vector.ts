/**
 * Assembles one WebAssembly function over 128-bit vectors of four 32-bit words: just the instructions that sha256-lanes.ts and
 * md4-lanes.ts need (WebAssembly 2.0, §5 binary format). Each method appends one instruction.
 */

/** Index of a parameter or local. */
export type Local = number

const I32 = 0x7f
const V128 = 0x7b
const VECTOR = 0xfd

export class Assembler {
  readonly #name: string
  readonly #parameters: number
  readonly #pages: number
  readonly #code: number[] = []
  readonly #locals: number[] = []

  /** A function of `parameters` integers without a result, on an imported memory of exactly `pages` pages ("env" "memory"). */
  constructor(name: string, parameters: number, pages: number) {
    this.#name = name
    this.#parameters = parameters
    this.#pages = pages
  }

  integer(): Local {
    return this.#parameters + this.#locals.push(I32) - 1
  }
  vectors(count: number): Local[] {
    return Array.from({ length: count }, () => this.#parameters + this.#locals.push(V128) - 1)
  }

  get = (x: Local): this => this.#emit(0x20, ...unsigned(x))
  set = (x: Local): this => this.#emit(0x21, ...unsigned(x))
  /** `set` that leaves the value on the stack. */
  tee = (x: Local): this => this.#emit(0x22, ...unsigned(x))
  int = (n: number): this => this.#emit(0x41, ...signed(n))
  addInt = (): this => this.#emit(0x6a)
  subtractInt = (): this => this.#emit(0x6b)
  differ = (): this => this.#emit(0x47)
  /** Goes back to the start of the innermost loop if the integer on the stack is not 0. */
  repeat = (): this => this.#emit(0x0d, 0)
  loop(body: () => void): this {
    this.#emit(0x03, 0x40)
    body()
    return this.#emit(0x0b)
  }

  load = (offset: number): this => this.#vector(0, 4, ...unsigned(offset))
  store = (offset: number): this => this.#vector(11, 4, ...unsigned(offset))
  /** One word from memory in all four lanes. */
  loadSame = (offset: number): this => this.#vector(9, 2, ...unsigned(offset))
  add = (): this => this.#vector(174)
  xor = (): this => this.#vector(81)
  and = (): this => this.#vector(78)
  or = (): this => this.#vector(80)
  /** The integer on the stack in all four lanes. */
  spread = (): this => this.#vector(17)
  shiftLeft = (bits: number): this => this.int(bits).#vector(171)
  shiftRight = (bits: number): this => this.int(bits).#vector(173)
  /** Four words of the two vectors on the stack: 0–3 are the first's, 4–7 the second's. */
  pick = (...words: [number, number, number, number]): this =>
    this.#vector(13, ...words.flatMap(w => [4 * w, 4 * w + 1, 4 * w + 2, 4 * w + 3]))
  /** The bytes of each word in reverse. */
  reverseWords(): this {
    const x = this.#scratch()
    return this.tee(x).get(x).#vector(13, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12)
  }

  /** The whole module: memory imported, the function exported under its name. */
  module(): Uint8Array<ArrayBuffer> {
    const body = [...unsigned(this.#locals.length), ...this.#locals.flatMap(type => [1, type]), ...this.#code, 0x0b]
    const text = (s: string): number[] => [...unsigned(s.length), ...new TextEncoder().encode(s)]
    const section = (id: number, bytes: readonly number[]): number[] => [id, ...unsigned(bytes.length), ...bytes]
    const { length } = unsigned(this.#pages)
    if (length !== 1) throw new RangeError('too many pages')
    return Uint8Array.from([
      ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      ...section(1, [1, 0x60, this.#parameters, ...Array<number>(this.#parameters).fill(I32), 0]),
      ...section(2, [1, ...text('env'), ...text('memory'), 2, 1, this.#pages, this.#pages]),
      ...section(3, [1, 0]),
      ...section(7, [1, ...text(this.#name), 0, 0]),
      ...section(10, [1, ...unsigned(body.length), ...body])
    ])
  }

  #scratchLocal: Local | undefined
  #scratch(): Local {
    this.#scratchLocal ??= this.vectors(1)[0]!
    return this.#scratchLocal
  }
  #vector(op: number, ...rest: number[]): this {
    return this.#emit(VECTOR, ...unsigned(op), ...rest)
  }
  #emit(...bytes: number[]): this {
    this.#code.push(...bytes)
    return this
  }
}

/**
 * Loads 64 bytes of each of four messages and transposes them: w[i] holds word i of all four.
 * @param pointers where each message is in memory
 * @param w sixteen vectors
 * @param t four vectors that are overwritten
 */
export function readBlock(asm: Assembler, pointers: readonly Local[], w: readonly Local[], t: readonly Local[], bigEndian: boolean): void {
  for (let i = 0; i < 16; i += 4) {
    for (const [lane, p] of pointers.entries()) {
      asm.get(p).load(4 * i)
      if (bigEndian) asm.reverseWords()
      asm.set(t[lane]!)
    }
    const [a, b, c, d] = [w[i]!, w[i + 1]!, w[i + 2]!, w[i + 3]!]
    asm.get(t[0]!).get(t[1]!).pick(0, 4, 1, 5).set(a)
    asm.get(t[2]!).get(t[3]!).pick(0, 4, 1, 5).set(b)
    asm.get(t[0]!).get(t[1]!).pick(2, 6, 3, 7).set(c)
    asm.get(t[2]!).get(t[3]!).pick(2, 6, 3, 7).set(d)
    for (const [x, y] of [
      [a, b],
      [c, d]
    ] as const) {
      asm.get(x).get(y).pick(0, 1, 4, 5).set(t[0]!)
      asm.get(x).get(y).pick(2, 3, 6, 7).set(y)
      asm.get(t[0]!).set(x)
    }
  }
}

/** LEB128. */
function unsigned(n: number): number[] {
  const out: number[] = []
  for (let rest = n; ; rest >>>= 7) {
    if (rest < 0x80) return [...out, rest]
    out.push((rest & 0x7f) | 0x80)
  }
}
function signed(n: number): number[] {
  const out: number[] = []
  for (let rest = n; ; rest >>= 7) {
    if (rest >= -0x40 && rest < 0x40) return [...out, rest & 0x7f]
    out.push((rest & 0x7f) | 0x80)
  }
}
