/**
 * Programs end with the node, also when that is killed: beside each runs a leash, a shell in the program's process group that waits for the
 * end of a pipe which only the node holds, and then kills the group. It is there before the program is, and is no child of it, so that a
 * program that waits for its children does not wait for the leash.
 *
 * What left its group is found when the next node starts: by the folder of its run, which it has in its environment (Linux).
 */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { accessSync, constants, existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { delimiter, isAbsolute, join, resolve } from 'node:path'
import type { Duplex } from 'node:stream'

export const RUN_PREFIX = 'kith-run-'

/** `exec` with the positional parameters: nothing of them is read as a script. */
const LEASH = `((trap '' TERM INT HUP; read -r _ <&3; kill -KILL 0) </dev/null >/dev/null 2>&1 &)
exec 3<&-
exec "$@"`
const SHELL = '/bin/sh'
const WITHOUT_LEASH = process.platform === 'win32'

/**
 * Starts a program in a process group of its own that does not outlive this process. Its stdin, stdout and stderr are pipes. After it has
 * ended its group is to be killed: the leash is still in it.
 * @param file path of a program, as `findProgram` gives it
 */
export function spawnLeashed(file: string, args: readonly string[], options: Pick<SpawnOptions, 'cwd' | 'env'>): ChildProcess {
  const common = { ...options, detached: true, shell: false }
  if (WITHOUT_LEASH) return spawn(file, args, { ...common, stdio: 'pipe' })
  const child = spawn(SHELL, ['-c', LEASH, 'kith', file, ...args], { ...common, stdio: ['pipe', 'pipe', 'pipe', 'pipe'] })
  const leash = child.stdio[3] as Duplex | undefined
  leash?.on('error', () => {})
  leash?.resume()
  child.once('exit', () => leash?.destroy())
  return child
}

/** The path of a program as a shell would find it; undefined: there is none that may be run. @param path the variable PATH */
export function findProgram(program: string, cwd: string, path: string | undefined): string | undefined {
  if (program === '') return undefined
  const isPath = isAbsolute(program) || program.includes('/')
  const candidates = isPath ? [resolve(cwd, program)] : (path ?? '').split(delimiter).map(folder => join(resolve(cwd, folder), program))
  return candidates.find(candidate => {
    try {
      accessSync(candidate, constants.X_OK)
      return statSync(candidate).isFile()
    } catch {
      return false
    }
  })
}

/** Ends what an earlier node has left in the folder of runs, and removes that. Nobody else uses the folder meanwhile. */
export function sweepRuns(folder: string): void {
  if (!existsSync(folder)) return
  const stale = readdirSync(folder).filter(name => name.startsWith(RUN_PREFIX))
  if (stale.length === 0) return
  const places = new Set(stale.map(name => `TMPDIR=${join(folder, name)}`))
  for (const pid of runningProcesses()) {
    if (!environmentOf(pid).some(variable => places.has(variable))) continue
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // it has just ended
    }
  }
  for (const name of stale) {
    try {
      rmSync(join(folder, name), { recursive: true, force: true, maxRetries: 3 })
    } catch {
      // a file that this user may not remove must not keep the node from starting
    }
  }
}

function runningProcesses(): number[] {
  try {
    return readdirSync('/proc').flatMap(name => (/^\d+$/.test(name) && Number(name) !== process.pid ? [Number(name)] : []))
  } catch {
    return [] // no Linux
  }
}
/** As it was when the process began; nothing of processes of other users. */
function environmentOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
  } catch {
    return []
  }
}
