/** Two machines whose network has IPv6 only (threats C15), with nothing configured: files over every protocol, and messages. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { IPV6, noAskLink, openAskLink } from '../kits/ask-link.ts'
import { Lab, type Ready, sha256OfFile } from '../kits/lab.ts'
import type { Process } from '../kits/process.ts'

const PROTOCOLS = ['http', 'https', 'bittorrent', 'webtorrent', 'ed2k', 'kith']

test('C15: over IPv6 alone', async t => {
  const why = noAskLink()
  if (why !== undefined) {
    assert.notEqual(process.env['KITH_REQUIRE_INTEROP'], '1', why)
    return t.skip(why)
  }
  await using link = await openAskLink(IPV6)
  const lab = new Lab(t)
  const start = (end: 0 | 1, ...args: string[]): Process =>
    lab.start(`home ${end}`, [...args, '--json'], undefined, {}, link.ends[end].namespace)
  const seeder = start(0, 'up')
  await seeder.line('ready')
  const shared = (await start(0, 'share', lab.file('f.bin', 2_000_000)).ended()).last as unknown as Ready
  assert.ok(shared.link?.includes('/ip6/'), shared.link)
  const getter = start(1, 'up')
  const { addresses } = (await getter.line('ready')) as unknown as Ready
  for (const protocol of PROTOCOLS) await fetchOver(lab, start, protocol, shared)
  const there = addresses.find(a => a.includes(`/ip6/${IPV6[1]}/`) && !a.includes('/ws'))
  const sent = await start(0, 'msg', 'send', there!, 'over IPv6').ended()
  assert.equal(sent.last['state'], 'delivered', sent.err)
})

async function fetchOver(lab: Lab, start: (end: 0 | 1, ...args: string[]) => Process, protocol: string, shared: Ready): Promise<void> {
  const end = await start(1, 'get', shared.link!, '-o', lab.dir(protocol), '--protocol', protocol).ended()
  assert.equal(end.code, 0, `${protocol}: ${end.err}`)
  assert.equal(sha256OfFile(String(end.last['path'])), shared.fileId)
}
