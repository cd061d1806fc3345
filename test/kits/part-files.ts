/** What an unfinished download left in its folder, beside what it should become. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const CHUNK = 262_144

const find = (folder: string, suffix: string): string | undefined =>
  readdirSync(folder).find(f => f.startsWith('.kith-') && f.endsWith(suffix))

/** Chunks that the journal says are there: its complete `c` lines. */
function chunksOf(folder: string): Set<number> {
  const name = find(folder, '.journal')
  if (name === undefined || !existsSync(join(folder, name))) return new Set()
  const lines = readFileSync(join(folder, name), 'utf8').split('\n').slice(0, -1)
  return new Set(lines.filter(l => l.startsWith('c ')).map(l => Number(l.split(' ')[1])))
}
export const recordedChunks = (folder: string): number => chunksOf(folder).size
/** Bytes of the recorded chunks of a file of `size` bytes. */
export const recordedBytes = (folder: string, size: number): number =>
  [...chunksOf(folder)].reduce((n, c) => n + Math.min(CHUNK, size - c * CHUNK), 0)

/** Chunks of the one unfinished download in `folder`; no chunk of `content` is all zeros, as what was never written is. */
export function comparePart(
  folder: string,
  content: Buffer
): { readonly right: number; readonly wrong: number; readonly unrecorded: readonly number[] } {
  const part = readFileSync(join(folder, find(folder, '.part')!))
  const chunks = chunksOf(folder)
  const isRight = (c: number): boolean => part.subarray(c * CHUNK, (c + 1) * CHUNK).equals(content.subarray(c * CHUNK, (c + 1) * CHUNK))
  const count = Math.ceil(content.length / CHUNK)
  const right = [...chunks].filter(isRight).length
  const unrecorded = Array.from({ length: count }, (_, c) => c).filter(c => !chunks.has(c) && isRight(c))
  return { right, wrong: chunks.size - right, unrecorded }
}
