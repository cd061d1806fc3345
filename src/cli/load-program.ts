/**
 * The program of the published package: one script, compiled once. Node's own compile cache keeps what is compiled when a module is loaded;
 * functions, which V8 compiles when they are first called, were compiled anew in every start, and that was a third of it. Here V8's cache
 * is taken when a command has run, so it has them, too. build.ts puts this file in the place of run.ts.
 */
import { closeSync, fstatSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire, getCompileCacheDir } from 'node:module'
import { join } from 'node:path'
import { getHeapSpaceStatistics } from 'node:v8'
import { Script } from 'node:vm'
import { crc32 } from 'node:zlib'
import { withDefaultFlags } from './young-heap.ts'

type Run = (args: readonly string[]) => Promise<number>
type Evaluate = (exports: object, require: NodeJS.Require, module: object, folder: string, url: string) => void

/** File name of the script beside this one; set by build.ts, with a hash of the script in it. */
declare const KITH_PROGRAM: string

/** A command that stays up is cached so long after its start; V8 forgets code that was not used for a while. */
const SAVE_AFTER_MS = 10_000
/**
 * The cache is written again when a command made so much code beyond it: above 2 MB when its own is missing, up to 1 MB when it is not,
 * all of that Node's.
 */
const NEW_BYTES = 1_400_000
/** Not more often than this for one program, whatever commands are used in turns. */
const MAX_SAVES = 8
/** Commands that use the same parts share a cache, to which each of them adds once; the rest have a third. */
const KINDS: Readonly<Record<string, readonly string[]>> = {
  files: ['get', 'share'],
  peers: ['up', 'msg', 'group', 'agent', 'peer']
}

/** As `run` of run.ts. */
export const run: Run = async args => {
  const [kind, names] = Object.entries(KINDS).find(([, names]) => args.some(a => names.includes(a))) ?? ['others', []]
  const command = args.find(a => names.includes(a)) ?? 'other'
  const cache = new ProgramCache(kind)
  const script = compile(cache)
  const loadedBytes = bytecodeBytes()
  const loaded = { exports: {} }
  const evaluate = script.runInThisContext() as Evaluate
  evaluate(loaded.exports, createRequire(import.meta.url), loaded, import.meta.dirname, import.meta.url)
  const save = (worked: boolean): void => {
    const lacks = !cache.commands.includes(command) && (worked || cache.isEmpty)
    if (lacks || bytecodeBytes() - loadedBytes > NEW_BYTES) cache.save(command, () => withDefaultFlags(() => script.createCachedData()))
  }
  const later = setTimeout(save, SAVE_AFTER_MS, true).unref()
  const code = await (loaded.exports as { readonly run: Run }).run(args)
  clearTimeout(later)
  save(code === 0)
  return code
}

/** What is compiled lies in the heap's trusted spaces. (The statistics of code itself would go through the whole heap.) */
const bytecodeBytes = (): number =>
  getHeapSpaceStatistics().reduce((n, s) => (s.space_name.includes('trusted') ? n + s.space_used_size : n), 0)

function compile(cache: ProgramCache): Script {
  const filename = join(import.meta.dirname, KITH_PROGRAM)
  const cachedData = cache.take()
  // ASCII, as build.ts makes it.
  const source = readFileSync(filename, 'latin1')
  const script = new Script(source, { filename, ...(cachedData ? { cachedData } : {}) })
  if (script.cachedDataRejected) cache.forget()
  return script
}

/** What is in front of the code. */
interface Header {
  readonly program: string
  /** CRC-32 of the code: V8 does not check what it reads. */
  readonly crc: number
  /** Those that added to it. */
  readonly commands: readonly string[]
  /** How often it was written. */
  readonly saves: number
}

/** A file beside Node's own cache, in a folder that is already of this version of Node, this processor and this user. */
class ProgramCache {
  readonly #path: string | undefined
  /** Those whose code is in it. */
  commands: readonly string[] = []
  #saves = 0
  #isSaved = false
  #code: Buffer | undefined

  constructor(kind: string) {
    const folder = getCompileCacheDir()
    if (folder === undefined) return
    this.#path = join(folder, `kith-${kind}.bin`)
    try {
      const file = readOwn(this.#path)
      const end = file.indexOf('\n')
      const { program, crc, commands, saves } = JSON.parse(file.toString('latin1', 0, end)) as Header
      const code = file.subarray(end + 1)
      if (program !== KITH_PROGRAM || crc !== crc32(code)) return
      this.#code = code
      this.commands = commands
      this.#saves = saves
    } catch {
      // none yet, or a damaged one: it is written anew
    }
  }

  /** What V8 wrote, which is not kept; undefined when there is none for this program. */
  take(): Buffer | undefined {
    const code = this.#code
    this.#code = undefined
    return code
  }

  /** Nothing is kept for this program. */
  get isEmpty(): boolean {
    return this.#saves === 0
  }

  /** V8 did not want it. */
  forget(): void {
    this.commands = []
    this.#saves = 0
  }

  /** Writes the code, once. A cache that cannot be written is done without. */
  save(command: string, make: () => Buffer): void {
    if (this.#path === undefined || this.#isSaved || this.#saves >= MAX_SAVES) return
    this.#isSaved = true
    const temporary = `${this.#path}.${process.pid}`
    try {
      const code = make()
      const header: Header = {
        program: KITH_PROGRAM,
        crc: crc32(code),
        commands: [...new Set([...this.commands, command])],
        saves: this.#saves + 1
      }
      writeFileSync(temporary, Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), code]), { mode: 0o600, flag: 'wx' })
      renameSync(temporary, this.#path)
    } catch {
      rmSync(temporary, { force: true })
    }
  }
}

/** Reads a file that nobody else can have written: what is in it is run. */
function readOwn(path: string): Buffer {
  const fd = openSync(path, 'r')
  try {
    const { uid, mode } = fstatSync(fd)
    const isOwn = process.getuid === undefined || (uid === process.getuid() && (mode & 0o022) === 0)
    return isOwn ? readFileSync(fd) : Buffer.alloc(0)
  } finally {
    closeSync(fd)
  }
}
