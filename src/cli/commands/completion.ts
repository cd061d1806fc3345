/** `kith completion`: scripts for shells, made from the tree of commands. */
import { Argument } from 'commander'
import { completionScript, shells } from '../completion-script.ts'
import type { Register } from '../context.ts'

const EXAMPLES = `
Examples:
  source <(kith completion bash)
  kith completion zsh > "\${fpath[1]}/_kith"
  kith completion fish > ~/.config/fish/completions/kith.fish`

export const register: Register = (program, act) => {
  program
    .command('completion')
    .description('print a completion script for a shell')
    .addArgument(new Argument('<shell>', 'bash, zsh or fish').choices(shells))
    .addHelpText('after', EXAMPLES)
    .action(
      act(async (_context, shell: string) => {
        process.stdout.write(completionScript(program, shell))
        return undefined
      })
    )
}
