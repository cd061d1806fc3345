/** The client's end of a link over HTTP against servers that are not Kith's. */
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import test from 'node:test'
import { randomBytes } from '#crypto'
import { eventually } from '../../test/kits/transfer-doubles.ts'
import { utf8 } from '../base/bytes.ts'
import { openHttpLink } from './http-client.node.ts'
import { MAX_HTTP_ARRIVED_BYTES } from './limits.ts'

test('a server that answers without end fills no memory: nothing more is collected until that is read', async t => {
  const bytes = 2 * 1024 * 1024
  let asked = 0
  const server = createServer((request, response) => {
    if (request.method === 'POST') asked++
    request.resume()
    response.end(JSON.stringify({ status: 'collected', reply: [{ text: 'x'.repeat(bytes) }] }))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  await using link = openHttpLink({ random: randomBytes }, { url })
  await link.send(utf8('{}'))
  const full = MAX_HTTP_ARRIVED_BYTES / bytes
  await eventually('as much as may be', () => asked >= full)
  for (let i = 0; i < 5; i++) await (await fetch(url)).text()
  assert.equal(asked, full)
  for (let i = 0; i < full; i++) assert.ok((await link.next())!.length > bytes)
  await eventually('it goes on', () => asked > full)
})
