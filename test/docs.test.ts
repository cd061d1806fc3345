/** Documentation that must agree with the code: limits, dependencies, links, and the files it names. */
import assert from 'node:assert/strict'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import test from 'node:test'
import { LIMITS_PAGE, limitsPage } from './kits/limits-page.ts'

const ROOT = join(import.meta.dirname, '..')
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')
const PAGES = globSync(['*.md', 'docs/**/*.md', 'src/**/*.md', 'contracts/**/*.md', 'bench/**/*.md'], { cwd: ROOT })

test('docs/limits.md is what the limits.ts files say', async () => {
  assert.equal(readFileSync(LIMITS_PAGE, 'utf8'), await limitsPage(), 'run: npm run docs')
})

test('docs/dependencies.md has one row for every entry of package.json', () => {
  const { dependencies, optionalDependencies, devDependencies, overrides } = JSON.parse(read('package.json')) as Record<string, object>
  const entries = [dependencies, optionalDependencies, devDependencies, overrides].flatMap(d => Object.keys(d ?? {}))
  const rows = [...read('docs/dependencies.md').matchAll(/^\| `([^`]+)` \|/gm)].map(m => m[1])
  assert.deepEqual(rows.sort(), [...new Set(entries)].sort())
})

test('links between pages lead to files', () => {
  const broken = PAGES.flatMap(page =>
    [...read(page).matchAll(/\]\((?!https?:|mailto:|#)([^)#\s]+)/g)]
      .map(m => join(dirname(page), m[1]!))
      .filter(target => !existsSync(join(ROOT, target)))
      .map(target => `${page} -> ${target}`)
  )
  assert.deepEqual(broken, [])
})

test('the files that pages name exist', () => {
  const missing = PAGES.flatMap(page =>
    [...read(page).matchAll(/`((?:src|test|docs|bench|contracts|bin)\/[\w./-]*\w)`/g)]
      .map(m => m[1]!)
      .filter(path => !existsSync(join(ROOT, path)))
      .map(path => `${page}: ${path}`)
  )
  assert.deepEqual(missing, [])
})

test('every decision and every page of docs is in an index', () => {
  const index = read('docs/README.md') + read('docs/wire/README.md')
  const lost = PAGES.map(p => relative('docs', p)).filter(p => !p.startsWith('..') && !/(^|\/)README\.md$/.test(p))
  assert.deepEqual(
    lost.filter(p => !index.includes(`(${p.replace('wire/', '')})`) && !index.includes(`(${p})`)),
    []
  )
})

const CITING = globSync(['*.md', '{src,test,bench,docs,contracts}/**/*.{ts,md,py,sol}'], { cwd: ROOT }).filter(
  f => f !== 'test/docs.test.ts'
)
/** Rows of docs/threats.md by case id. */
const ROWS = new Map([...read('docs/threats.md').matchAll(/^\| ([A-Z]{1,2}\d{1,2}) \|.*$/gm)].map(m => [m[1]!, m[0]]))

/** Case ids that a text cites; `PY3-PY6` is four. T and C with a number may be anything: they count in a list after "threats", or in the title of a test. */
function casesIn(text: string): Set<string> {
  const flat = text.replaceAll(/\s*\n[\s*/]*/g, ' ')
  const lists = [...flat.matchAll(/(?:\bthreats |\btest\(['"`])((?:[A-Z]{1,2}\d{1,2}(?:-|, | and )?)+)/gi)].map(m => m[1]!)
  const bare = [...flat.matchAll(/(?<![%\w.-])((?:CO|CH|HT|BT|DH|PY|ST|LA|HS|SM|RT|CM|OB|ED|BL|TA)\d{1,2}-?)+\b/g)].map(m => m[0])
  const found = new Set<string>()
  for (const [, family = '', from = '', to = from] of [...lists, ...bare].join(' ').matchAll(/\b([A-Z]{1,2})(\d{1,2})(?:-\1(\d{1,2}))?\b/g))
    for (let n = Number(from); n <= Number(to); n++) found.add(family + n)
  return found
}

test('every case that code, tests or pages cite is a row of docs/threats.md', () => {
  assert.ok(ROWS.size > 80)
  assert.deepEqual([...casesIn('threats T9, PY4-PY6 and C12\n * more')].sort(), ['C12', 'PY4', 'PY5', 'PY6', 'T9'])
  const cited = CITING.filter(f => f !== 'docs/threats.md').map(f => [f, casesIn(read(f))] as const)
  const unknown = cited.flatMap(([file, ids]) => [...ids].filter(id => !ROWS.has(id)).map(id => `${file}: ${id}`))
  assert.deepEqual(unknown, [])
  const unnamed = cited
    .filter(([file]) => file.endsWith('.test.ts'))
    .flatMap(([file, ids]) => [...ids].filter(id => !ROWS.get(id)?.includes(`\`${file}\``)).map(id => `${id} is tested in ${file}`))
  assert.deepEqual(unnamed, [], 'the row of the case names its tests')
})

test('every section and specification that code, tests or pages cite exists', () => {
  const design = read('docs/design.md')
  const sections = (page: string): Set<string> => new Set([...read(page).matchAll(/^## §?(\d+a?)\b/gm)].map(m => m[1]!))
  const properties = new Set([...design.split(/^## /m)[3]!.matchAll(/^(\d+)\. /gm)].map(m => m[1]!))
  assert.equal(properties.size, 10)
  const missing = CITING.flatMap(file => {
    const text = read(file).replaceAll(/\s*\n[\s*/]*/g, ' ')
    const out: string[] = []
    const cite = (page: string, numbers: string): void => {
      const known = existsSync(join(ROOT, page)) ? sections(page) : new Set<string>()
      for (const [number] of numbers.matchAll(/\d+a?/g)) if (!known.has(number)) out.push(`${file}: ${page} §${number}`)
    }
    for (const [, numbers, property] of text.matchAll(/\bDESIGN §(\d+a?)(?:\.(\d+))?/g)) {
      cite('docs/design.md', numbers!)
      if (property && !(numbers === '2' && properties.has(property))) out.push(`${file}: DESIGN §${numbers}.${property}`)
    }
    for (const [, page = '', numbers] of text.matchAll(/\b([\w/-]+\.md) §(\d+a?(?:(?:-§?| and §|, §)\d+a?)*)/g)) {
      const places = page.includes('/') ? [page] : ['docs/wire', 'docs', dirname(file)].map(folder => join(folder, page))
      cite(places.find(p => existsSync(join(ROOT, p))) ?? page, numbers!)
    }
    for (const [spec] of text.matchAll(/\bspec 00\d\b/g)) if (!design.includes(`\n| ${spec} |`)) out.push(`${file}: ${spec}`)
    return out
  })
  assert.deepEqual(missing, [])
})

test('the pages that comments name exist', () => {
  const missing = CITING.filter(f => !f.endsWith('.md')).flatMap(file =>
    [...read(file).matchAll(/\bdocs\/[\w/-]+\.md\b/g)].filter(([page]) => !existsSync(join(ROOT, page))).map(([page]) => `${file}: ${page}`)
  )
  assert.deepEqual(missing, [])
})
