/** Fails when a folder imports what it may not: DESIGN's folder map is boundaries.json, explained in docs/architecture.md. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, posix, resolve } from 'node:path'
import test from 'node:test'

const ROOT = resolve(import.meta.dirname, '..', 'src')
/** folder -> folders it may import. A folder may always import itself. */
const MAY: Record<string, readonly string[]> = JSON.parse(readFileSync(join(ROOT, '..', 'boundaries.json'), 'utf8'))
const PACKAGE = JSON.parse(readFileSync(join(ROOT, '..', 'package.json'), 'utf8')) as { imports: Record<string, Record<string, string>> }

interface Edge {
  readonly from: string
  readonly to: string
}
const STATIC = /^[ \t]*(?:import|export)\s+(?:type\s+)?(?:[^'"`;]*?\sfrom\s*)?['"]([^'"]+)['"]/gm
const DYNAMIC = /\bimport\(\s*['"]([^'"]+)['"]\s*\)/g

const files = readdirSync(ROOT, { recursive: true, encoding: 'utf8' })
  .map(f => f.replaceAll('\\', '/'))
  .filter(f => f.endsWith('.ts') && !/\.(test|d)\.ts$/.test(f))
const edges: Edge[] = []
const packages: Edge[] = []
for (const from of files) {
  const text = readFileSync(join(ROOT, from), 'utf8')
  for (const [, spec = ''] of [...text.matchAll(STATIC), ...text.matchAll(DYNAMIC)]) {
    if (spec.startsWith('.')) edges.push({ from, to: posix.normalize(posix.join(dirname(from), spec)) })
    else if (spec.startsWith('#')) {
      for (const target of Object.values(PACKAGE.imports[spec] ?? {})) edges.push({ from, to: target.replace('./src/', '') })
    } else packages.push({ from, to: spec })
  }
}
const top = (f: string): string => f.split('/')[0]!
const nodeOnly = (f: string): boolean => f.endsWith('.node.ts') || f.startsWith('cli/')
const show = (bad: readonly Edge[]): string[] => bad.map(e => `${e.from} -> ${e.to}`)

test('the map names the folders of the design and is acyclic', () => {
  for (const folder of readdirSync(ROOT)) assert.ok(MAY[folder], `src/${folder} is not in boundaries.json`)
  const done = new Set<string>()
  const visit = (f: string, path: readonly string[]): void => {
    assert.ok(!path.includes(f), `cycle in the map: ${[...path, f].join(' -> ')}`)
    if (done.has(f)) return
    for (const t of MAY[f] ?? []) visit(t, [...path, f])
    done.add(f)
  }
  for (const f of Object.keys(MAY)) visit(f, [])
})
test('every folder has a README', () => {
  const bare = readdirSync(ROOT).filter(f => statSync(join(ROOT, f)).isDirectory() && !existsSync(join(ROOT, f, 'README.md')))
  assert.deepEqual(bare, [])
})
test('every import leads to a file', () => {
  assert.deepEqual(show(edges.filter(e => !existsSync(join(ROOT, e.to)))), [])
})
test('folders import only what the map allows', () => {
  assert.deepEqual(show(edges.filter(e => top(e.from) !== top(e.to) && !(MAY[top(e.from)] ?? []).includes(top(e.to)))), [])
})
test('nobody reaches into a private subfolder', () => {
  assert.deepEqual(show(edges.filter(e => top(e.from) !== top(e.to) && e.to.split('/').length > 2)), [])
})
test('node: modules stay in the Node-only files, and only those import such files', () => {
  assert.deepEqual(show(packages.filter(e => e.to.startsWith('node:') && !nodeOnly(e.from))), [])
  const leaves = new Set(Object.values(PACKAGE.imports).flatMap(t => Object.values(t).map(p => p.replace('./src/', ''))))
  assert.deepEqual(show(edges.filter(e => e.to.endsWith('.node.ts') && !nodeOnly(e.from) && !leaves.has(e.to))), [])
})
test('no import cycles, type imports included', () => {
  const out = Map.groupBy(edges, e => e.from)
  const state = new Map<string, 1 | 2>()
  const cycles: string[] = []
  const visit = (f: string, path: readonly string[]): void => {
    if (state.get(f) === 2) return
    if (state.get(f) === 1) {
      cycles.push([...path.slice(path.indexOf(f)), f].join(' -> '))
      return
    }
    state.set(f, 1)
    for (const e of out.get(f) ?? []) visit(e.to, [...path, f])
    state.set(f, 2)
  }
  for (const f of files) visit(f, [])
  assert.deepEqual(cycles, [])
})
