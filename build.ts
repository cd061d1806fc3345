/**
 * Makes dist/ for the published package: the command and its workers, with every library inside, so that whoever installs Kith installs
 * `node` and little else (docs/adr/0007). `npm pack` runs it. Development needs no build: Node runs src/ as it is.
 * `node build.ts FOLDER` makes it elsewhere, for tests.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type BuildOptions, build, type Metafile, type Plugin } from 'esbuild'

const ROOT = import.meta.dirname
const DIST = process.argv[2] ?? join(ROOT, 'dist')
/** What Node starts by itself: the loader of the program, and workers, beside the program that starts them (src/transfer/worker-url.node.ts). */
const ENTRIES = {
  main: 'src/cli/main.ts',
  'verify-worker': 'src/transfer/disk/verify-worker.node.ts',
  'follow-worker': 'src/transfer/disk/follow-worker.node.ts',
  'hash-worker': 'src/transfer/hashing/hash-worker.node.ts',
  'encrypt-worker': 'src/transfer/encryption/encrypt-worker.node.ts'
}
/** The program itself is one script with every library inside: src/cli/load-program.ts calls it with these, and caches its code. */
const PROGRAM = 'src/cli/run.ts'
const OPENING = '(function(exports,require,module,kithFolder,kithUrl){"use strict";'
const CLOSING = '})'
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

/** What libraries carry along and nobody here uses, or as a text that every start would have to read as code. */
const lean: Plugin = {
  name: 'lean',
  setup({ onLoad }) {
    // zod's messages in fifty languages; ours are in English.
    onLoad({ filter: /[\\/]zod[\\/]v4[\\/]locales[\\/]index\.js$/ }, () => ({ contents: "export { default as en } from './en.js'" }))
    // The DHT's table of 32,768 numbers: read as bytes.
    onLoad({ filter: /[\\/]generated-prefix-list\.js$/ }, async ({ path }) => {
      const { default: prefixes } = (await import(pathToFileURL(path).href)) as { readonly default: readonly number[] }
      const bytes = Buffer.from(Uint32Array.from(prefixes).buffer).toString('base64')
      return { contents: `export default new Uint32Array(Uint8Array.from(Buffer.from('${bytes}', 'base64')).buffer)` }
    })
  }
}

/** main.ts loads the program through the cache. */
const cachedProgram: Plugin = {
  name: 'cached-program',
  setup({ onResolve }) {
    onResolve({ filter: /^\.\/run\.ts$/ }, ({ importer }) =>
      importer.endsWith('main.ts') ? { path: join(ROOT, 'src/cli/load-program.ts') } : undefined
    )
  }
}

const COMMON: BuildOptions & { readonly metafile: true } = {
  absWorkingDir: ROOT,
  outdir: DIST,
  bundle: true,
  platform: 'node',
  target: 'node24',
  // WebRTC's native library comes as an optional dependency.
  external: ['node-datachannel'],
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'none',
  metafile: true,
  logLevel: 'warning'
}

rmSync(DIST, { recursive: true, force: true })
mkdirSync(DIST)
const program = await build({
  ...COMMON,
  entryPoints: { kith: PROGRAM },
  format: 'cjs',
  // A script, unlike a module, is given no way to import what is outside; `require` finds the same.
  supported: { 'dynamic-import': false },
  define: {
    'import.meta.url': 'kithUrl',
    'import.meta.dirname': 'kithFolder',
    // Accelerators of ws that need a compiler are never there: looking for them takes 6 ms of each start.
    'process.env.WS_NO_BUFFER_UTIL': '"1"',
    'process.env.WS_NO_UTF_8_VALIDATE': '"1"'
  },
  banner: { js: OPENING },
  footer: { js: CLOSING },
  plugins: [plainBuiltins, lean],
  write: false
})
const programName = writeProgram(program.outputFiles[0]!.text)
const { metafile } = await build({
  ...COMMON,
  entryPoints: ENTRIES,
  // What several workers use, and what they use rarely, are files of their own.
  splitting: true,
  chunkNames: '[name]-[hash]',
  format: 'esm',
  define: { KITH_PROGRAM: JSON.stringify(programName) },
  banner: { js: REQUIRE },
  plugins: [cachedProgram, plainBuiltins]
})
const libraries = [...new Set([metafile, program.metafile].flatMap(bundledPackages))].sort()
writeFileSync(join(DIST, 'THIRD-PARTY.txt'), licences(libraries))
const written = readdirSync(DIST).map(name => statSync(join(DIST, name)).size)
const bytes = written.reduce((n, size) => n + size, 0)
console.log(`dist: ${written.length} files, ${(bytes / 1e6).toFixed(1)} MB, ${libraries.length} libraries inside`)

/** Every start reads it as bytes, so it is ASCII. @returns its name, which changes with its content */
function writeProgram(text: string): string {
  const ascii = text.replace(/[^\0-\x7f]/g, c => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
  const name = `kith-${createHash('sha256').update(ascii).digest('hex').slice(0, 16)}.cjs`
  writeFileSync(join(DIST, name), ascii)
  return name
}

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
  return [...folders]
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
