/** `kith demo`: the main job, on this machine, with real processes. */
import type { Context, Register } from '../context.ts'
import { parseSize } from '../format.ts'

interface DemoOptions {
  readonly size: string
  readonly fullSpeed?: boolean
}

export const register: Register = (program, act) => {
  program
    .command('demo')
    .description('see it all at work: four protocols, a download from all at once, one seeder killed, payment in one go')
    .option('--size <size>', 'size of the file', '256MiB')
    .option('--full-speed', 'do not limit the upload of each seeder')
    .addHelpText('after', '\nExamples:\n  kith demo\n  kith demo --size 64MiB --json')
    .action(act(demo))
}

async function demo(context: Context, options: DemoOptions): Promise<number> {
  const { runDemo } = await import('../demo.ts')
  const { signal } = context.lifetime
  return await runDemo({
    size: parseSize(options.size),
    fullSpeed: options.fullSpeed === true,
    json: context.options.json === true,
    signal
  })
}
