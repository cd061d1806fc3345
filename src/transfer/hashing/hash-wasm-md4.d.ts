/** The file of hash-wasm with nothing but MD4 in it: its main file has every algorithm, takes ten times as long to load, and is bundled whole. */
declare module 'hash-wasm/dist/md4.umd.min.js' {
  import type { IHasher } from 'hash-wasm'

  const hashWasm: { createMD4(): Promise<IHasher> }
  export default hashWasm
}
