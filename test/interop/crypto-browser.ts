/** Chromium runs crypto-page.ts on the vectors, in a process of its own. Prints what it answered as one line of JSON. */
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { build } from 'esbuild'
import { chromium } from 'playwright-core'
import { VECTOR_FILES, type Vectors } from '../kits/crypto-verdicts.ts'
import type { SessionVectors } from '../kits/session-facts.ts'
import type { CryptoPage } from './crypto-page.ts'

const ROOT = join(import.meta.dirname, '../..')
const [profile = ''] = process.argv.slice(2)
const json = <T>(path: string): T => JSON.parse(readFileSync(join(ROOT, path), 'utf8')) as T
const vectors = Object.fromEntries(
  Object.entries(VECTOR_FILES).map(([set, path]) => [set, json(`test/vectors/${path}`)])
) as unknown as Vectors
const session = json<SessionVectors>('docs/wire/session-vectors.json')

const bundle = await build({
  entryPoints: [join(import.meta.dirname, 'crypto-page.ts')],
  bundle: true,
  write: false,
  format: 'esm',
  platform: 'browser',
  target: 'es2024',
  logLevel: 'silent'
})

await using stack = new AsyncDisposableStack()
const web = createServer((request, response) => {
  const isScript = request.url === '/page.js'
  response.setHeader('content-type', isScript ? 'text/javascript' : 'text/html')
  response.end(isScript ? bundle.outputFiles[0]!.text : '<!doctype html><script type="module" src="/page.js"></script>')
})
await new Promise<void>(resolve => web.listen(0, '127.0.0.1', resolve))
stack.defer(() => {
  web.close()
  web.closeAllConnections()
})
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: '/usr/bin/chromium',
  headless: true,
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync'
  ]
})
stack.defer(() => browser.close())
const page = await browser.newPage()
await page.goto(`http://127.0.0.1:${(web.address() as AddressInfo).port}/`)
await page.waitForFunction('globalThis.verdicts')
const verdicts = await page.evaluate(v => (globalThis as unknown as CryptoPage).verdicts(v), vectors)
const facts = await page.evaluate(v => (globalThis as unknown as CryptoPage).facts(v), session)
console.log(JSON.stringify({ verdicts, facts }))
