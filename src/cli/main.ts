/** The `kith` command. Asking for the version loads nothing else, so that it answers at once. */
import { version } from '../node/version.ts'

const args = process.argv.slice(2)
if (args.length === 1 && (args[0] === '--version' || args[0] === '-V')) {
  process.stdout.write(`${version}\n`)
} else {
  // The key in a link is not for everybody who lists the processes of this machine.
  if (args.some(a => a.startsWith('kith:') && a.includes('#'))) process.title = 'kith'
  const { enableCodeCache } = await import('./code-cache.ts')
  enableCodeCache(process.env)
  const { run } = await import('./run.ts')
  process.exitCode = await run(args)
  // What a slow reader has not taken yet must not be cut: a long result or text.
  for (const stream of [process.stdout, process.stderr])
    if (stream.writableLength > 0) await new Promise<void>(resolve => stream.write('', () => resolve()))
  // Everything is closed by now. libp2p leaves a timer of a second behind, which must not keep a script waiting.
  process.exit()
}
