#!/usr/bin/env node
// Starts Kith with Node 24: in this process when it is new enough, else in a child with the `node` package that was installed beside Kith.
// Plain JavaScript without imports of ours, so that it runs (and says what is wrong) on any Node.
import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const NODE_MAJOR = 24
/** As in src/cli/exit-codes.ts. */
const UNAVAILABLE = 69
const INTERRUPTED = 130
const SAME_SIGNAL_MS = 100
const self = fileURLToPath(import.meta.url)
const root = join(dirname(self), '..')
const args = process.argv.slice(2)

if (args.length === 1 && (args[0] === '--version' || args[0] === '-V')) {
  // From source Node would first load its TypeScript stripper, which takes longer than all the rest.
  process.stdout.write(`${JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version}\n`)
} else if (Number(process.versions.node.split('.')[0]) >= NODE_MAJOR) {
  if (process.env.KITH_LAUNCHED) followLauncher()
  // A checkout has src/ and runs it as it is; the published package has dist/ only.
  const main = existsSync(join(root, 'src')) ? join(root, 'src', 'cli', 'main.ts') : join(root, 'dist', 'main.js')
  await import(pathToFileURL(main).href)
} else {
  launch()
}

/** Runs this file again, with Node 24, and ends as it ends. */
function launch() {
  const node = bundledNode()
  if (!node || process.env.KITH_LAUNCHED) {
    process.stderr.write(`kith needs Node ${NODE_MAJOR}; this is ${process.version}. Run: npm install (install scripts must be allowed: they bring Node)\n`)
    process.exit(UNAVAILABLE)
  }
  const env = { ...process.env, KITH_LAUNCHED: '1' }
  const child = spawn(node, [...process.execArgv, self, ...args], { stdio: ['inherit', 'inherit', 'inherit', 'ipc'], env })
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP']
  for (const signal of signals) {
    process.on(signal, () => (signal === 'SIGINT' ? child.connected && child.send('SIGINT', () => {}) : child.kill(signal)))
  }
  child.on('error', error => {
    process.stderr.write(`kith cannot start ${node}: ${error.message}\n`)
    process.exit(UNAVAILABLE)
  })
  child.on('exit', (code, signal) => {
    if (!signal) process.exit(code ?? 1)
    for (const s of signals) process.removeAllListeners(s)
    process.kill(process.pid, signal)
  })
}

/** Ends politely when the launcher is gone, even by SIGKILL: nobody else would stop us. */
function followLauncher() {
  delete process.env.KITH_LAUNCHED
  process.on('disconnect', () => process.kill(process.pid, 'SIGTERM'))
  // A terminal sends Ctrl-C to both of us, `kill` to the launcher alone. It must arrive once: the second one means "at once".
  let heardAt = Number.NEGATIVE_INFINITY
  process.on('SIGINT', () => {
    heardAt = performance.now()
    if (process.listenerCount('SIGINT') === 1) process.exit(INTERRUPTED)
  })
  process.on('message', () => {
    const askedAt = performance.now()
    setTimeout(() => heardAt < askedAt - SAME_SIGNAL_MS && process.kill(process.pid, 'SIGINT'), SAME_SIGNAL_MS)
  })
  process.channel?.unref()
}

function bundledNode() {
  try {
    const pkg = createRequire(import.meta.url).resolve('node/package.json')
    const path = join(dirname(pkg), 'bin', process.platform === 'win32' ? 'node.exe' : 'node')
    return existsSync(path) ? path : undefined
  } catch {
    return undefined
  }
}
