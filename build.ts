/**
 * Makes dist/ for the published package: the command and its workers, with every library inside, so that whoever installs Kith installs
 * `node` and little else (docs/adr/0007). `npm pack` runs it. Development needs no build: Node runs src/ as it is.
 */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { join } from 'node:path'
import { build, type Metafile, type Plugin } from 'esbuild'

const ROOT = import.meta.dirname
const DIST = join(ROOT, 'dist')
/** Workers are files of their own, beside the chunks that start them (src/transfer/worker-url.node.ts). */
const ENTRIES = {
  main: 'src/cli/main.ts',
  'verify-worker': 'src/transfer/disk/verify-worker.node.ts',
  'follow-worker': 'src/transfer/disk/follow-worker.node.ts',
  'hash-worker': 'src/transfer/hashing/hash-worker.node.ts',
  'encrypt-worker': 'src/transfer/encryption/encrypt-worker.node.ts'
}
/** What CommonJS libraries expect to find. */
const REQUIRE = "import { createRequire as kithCreateRequire } from 'node:module';const require = kithCreateRequire(import.meta.url);"

/**
 * Node's own modules are asked for instead of imported: for an import Node reads every property of the module once, and those of node:http
 * bring in undici and its WebSocket. About 20 ms of each start.
 */
const plainBuiltins: Plugin = {
  name: 'plain-builtins',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^[a-z]/ }, ({ path, kind }) => {
      if (!isBuiltin(path) || (kind !== 'import-statement' && kind !== 'require-call')) return undefined
      return { path: path.replace(/^(?!node:)/, 'node:'), namespace: 'builtin' }
    })
    onLoad({ filter: /^/, namespace: 'builtin' }, ({ path }) => ({
      contents: `module.exports = process.getBuiltinModule(${JSON.stringify(path)})`
    }))
  }
}

rmSync(DIST, { recursive: true, force: true })
const { metafile } = await build({
  absWorkingDir: ROOT,
  entryPoints: ENTRIES,
  outdir: DIST,
  bundle: true,
  // A library that is imported lazily becomes a chunk that is read lazily.
  splitting: true,
  chunkNames: '[name]-[hash]',
  format: 'esm',
  platform: 'node',
  target: 'node24',
  banner: { js: REQUIRE },
  // Accelerators of ws that need a compiler; it works without. WebRTC's native library comes as an optional dependency.
  external: ['bufferutil', 'utf-8-validate', 'node-datachannel'],
  plugins: [plainBuiltins],
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'none',
  metafile: true,
  logLevel: 'warning'
})
const libraries = bundledPackages(metafile)
writeFileSync(join(DIST, 'THIRD-PARTY.txt'), licences(libraries))
const bytes = Object.values(metafile.outputs).reduce((n, o) => n + o.bytes, 0)
console.log(`dist: ${Object.keys(metafile.outputs).length} files, ${(bytes / 1e6).toFixed(1)} MB, ${libraries.length} libraries inside`)

/** Folders of the packages whose code is in the bundle. */
function bundledPackages({ outputs }: Metafile): string[] {
  const inputs = new Set(
    Object.values(outputs).flatMap(o =>
      Object.entries(o.inputs)
        .filter(([, i]) => i.bytesInOutput > 0)
        .map(([path]) => path)
    )
  )
  const folders = new Set<string>()
  for (const path of inputs) {
    const folder = /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0]
    if (folder) folders.add(folder)
  }
  return [...folders].sort()
}

/** Names and licence texts of the libraries: their licences ask that they travel along. */
function licences(folders: readonly string[]): string {
  const seen = new Set<string>()
  let out = 'Kith contains these libraries. Each keeps its own licence.\n'
  for (const folder of folders) {
    const { name, version, license } = JSON.parse(readFileSync(join(ROOT, folder, 'package.json'), 'utf8')) as Record<string, string>
    if (seen.has(`${name}@${version}`)) continue
    seen.add(`${name}@${version}`)
    const files = readdirSync(join(ROOT, folder)).filter(f => /^(licen[cs]e|copying|notice)/i.test(f))
    out += `\n${'='.repeat(80)}\n${name} ${version} (${license ?? 'see below'})\n`
    for (const file of files.sort())
      if (existsSync(join(ROOT, folder, file))) out += `\n${readFileSync(join(ROOT, folder, file), 'utf8').trim()}\n`
  }
  return out
}
