/**
 * docs/limits.md, made from every limits.ts and the comments in it: `node test/kits/limits-page.ts` writes the page, and
 * test/docs.test.ts fails when it was forgotten.
 */
import { globSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'

const ROOT = join(import.meta.dirname, '../..')
export const LIMITS_PAGE: string = join(ROOT, 'docs/limits.md')

const HEAD = `# Limits

Every size, count, depth and time that a peer, another program or a file can choose has a number. This page is made from the
\`limits.ts\` files, and from what else is called MAX beside them, by \`npm run docs\`; a test compares them. Bytes are in
units of 1024. A row without text belongs to the row above.
`

/** The text of the page as the code has it now. */
export async function limitsPage(): Promise<string> {
  let page = HEAD
  for (const file of globSync('src/**/limits.ts', { cwd: ROOT }).sort()) {
    const folder = dirname(file)
    page += `\n## ${folder.replace('src/', '')}\n\n| name | value | what it bounds |\n| ---- | ----: | -------------- |\n`
    const others = globSync(`${folder}/*.ts`, { cwd: ROOT }).filter(f => f !== file && !f.endsWith('.test.ts'))
    for (const source of [file, ...others.sort()]) page += await rowsOf(source, source === file ? /^/ : /^MAX_/)
  }
  return page
}

type Units = readonly (readonly [number, string])[]

/** Rows of the exported constants of one file whose names begin with `named`. */
async function rowsOf(file: string, named: RegExp): Promise<string> {
  const entries = entriesOf(readFileSync(join(ROOT, file), 'utf8')).filter(e => named.test(e.name))
  if (entries.length === 0) return ''
  const values = (await import(pathToFileURL(join(ROOT, file)).href)) as Record<string, number>
  return entries.map(({ name, text }) => `| \`${name}\` | ${format(name, values[name]!)} | ${text.replaceAll('|', '\\|')} |\n`).join('')
}

/** Comments cite where a number comes from; the page does not. */
const REFERENCE = / ?\((?:DESIGN|threats)[^)]*\)/g

/** Exported constants with the comment that stands above them. */
function entriesOf(source: string): { name: string; text: string }[] {
  const out: { name: string; text: string }[] = []
  let text = ''
  for (const [, comment, name] of source.matchAll(/\/\*\*([\s\S]*?)\*\/|^export const (\w+)/gm)) {
    if (comment !== undefined)
      text = comment
        .replace(/\s*\n\s*\*\s?/g, ' ')
        .replace(REFERENCE, '')
        .trim()
    if (name === undefined) continue
    out.push({ name, text })
    text = ''
  }
  return out
}

const TIMES: Units = [
  [3_600_000, 'h'],
  [60_000, 'min'],
  [1000, 's'],
  [1, 'ms']
]
const SIZES: Units = [
  [2 ** 30, 'GiB'],
  [2 ** 20, 'MiB'],
  [1024, 'KiB'],
  [1, 'B']
]

function format(name: string, value: number): string {
  if (/_MS$/.test(name)) return inUnits(value, TIMES)
  return /BYTES(_|$)/.test(name) ? inUnits(value, SIZES) : value.toLocaleString('en-US')
}

function inUnits(value: number, units: Units): string {
  const [size, unit] = units.find(([n]) => value % n === 0 && value >= n) ?? units.at(-1)!
  return `${(value / size).toLocaleString('en-US')} ${unit}`
}

if (import.meta.main) writeFileSync(LIMITS_PAGE, await limitsPage())
