/** Runs one command line: parses it, does the work, and turns what was thrown into a message and an exit code. */
import { type Command, CommanderError } from 'commander'
import { codeOf, KithError } from '../base/errors.ts'
import type { Config } from '../node/config.ts'
import { type Act, type Context, flagsOf, type GlobalOptions } from './context.ts'
import { type CliDeps, realDeps } from './deps.ts'
import { exitCodeOf, exitCodes } from './exit-codes.ts'
import { Lifetime } from './lifetime.ts'
import { Output } from './output.ts'
import { buildProgram } from './program.ts'

/** @param args without the program's name. @returns the exit code; everything that was opened is closed then */
export async function run(args: readonly string[], deps: CliDeps = realDeps): Promise<number> {
  let code: number = exitCodes.ok
  const act: Act =
    <A extends unknown[]>(work: (context: Context, ...args: A) => Promise<number | undefined>) =>
    async (...given: [...A, Command]) => {
      const options = (given.at(-1) as Command).optsWithGlobals<GlobalOptions>()
      using lifetime = new Lifetime()
      let config: Promise<Config> | undefined
      const output = new Output({ json: options.json })
      const context = { options, output, lifetime, deps, config: () => (config ??= deps.loadConfig(flagsOf(options))) }
      try {
        code = (await work(context, ...(given.slice(0, -1) as unknown[] as A))) ?? exitCodes.ok
      } catch (error) {
        code = lifetime.signal.aborted ? lifetime.exitCode : exitCodeOf(codeOf(error))
        // What fails because the user pressed Ctrl-C is not news.
        if (!lifetime.signal.aborted) output.error(error)
      }
    }
  try {
    const program = await buildProgram(act, args)
    await program.parseAsync([...args], { from: 'user' })
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return exitCodes.ok // help was shown
    new Output({ json: args.includes('--json') ? true : args.includes('--no-json') ? false : undefined }).error(usageError(error, args))
    return error instanceof CommanderError ? exitCodes.usage : exitCodeOf(codeOf(error))
  }
  return code
}

const GROUPS: ReadonlySet<string> = new Set(['msg', 'group', 'agent', 'peer', 'wallet', 'id', 'chain'])

function usageError(error: unknown, args: readonly string[]): unknown {
  if (!(error instanceof CommanderError)) return error
  // It repeats what was typed, and the key of a link may be in it.
  const text = error.message.replace(/^error: /, '').replace(/(kith:[^\s#]*)#[^\s,'"]*/gi, '$1#…')
  const [message = '', guess] = text.split('\n')
  const at = args.findIndex(a => /^[a-z]+$/.test(a))
  // The word behind a group of commands names the one that is meant.
  const words = GROUPS.has(args[at] ?? '') && /^[a-z]+$/.test(args[at + 1] ?? '') ? args.slice(at, at + 2) : args.slice(at, at + 1)
  const help = ['kith', ...(/unknown command/.test(message) ? words.slice(0, -1) : at < 0 ? [] : words), '--help'].join(' ')
  return new KithError('USAGE', message, {}, { hint: guess ? guess.replace(/^\(Did you mean (?:one of )?|\?\)$/g, '') : help })
}
