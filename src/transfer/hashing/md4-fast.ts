/** MD4 of megabytes: WebAssembly of hash-wasm, about 1 GB/s. md4.ts is for a few bytes, and needs nothing to be loaded. */
import type { IHasher } from 'hash-wasm'
import hashWasm from 'hash-wasm/dist/md4.umd.min.js'

/** Bytes that are handed over at a time when they are in shared memory, which cannot be read in place. */
const COPY_BYTES = 256 * 1024

export class FastMd4 {
  readonly #hasher: IHasher
  #copy: Uint8Array<ArrayBuffer> | undefined

  private constructor(hasher: IHasher) {
    this.#hasher = hasher
  }

  static async open(): Promise<FastMd4> {
    return new FastMd4(await hashWasm.createMD4())
  }

  begin(): void {
    this.#hasher.init()
  }

  update(bytes: Uint8Array): void {
    this.#hasher.update(bytes)
  }

  /** 16 bytes, of everything since `begin`. */
  digest(): Uint8Array {
    return this.#hasher.digest('binary')
  }

  /** @param bytes may be in shared memory */
  hash(bytes: Uint8Array): Uint8Array {
    this.begin()
    this.#copy ??= new Uint8Array(COPY_BYTES)
    for (let at = 0; at < bytes.length; at += COPY_BYTES) {
      const part = bytes.subarray(at, at + COPY_BYTES)
      this.#copy.set(part)
      this.update(this.#copy.subarray(0, part.length))
    }
    return this.digest()
  }
}
