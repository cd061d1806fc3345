import assert from 'node:assert/strict'
import { resolve } from 'node:path'
import test from 'node:test'
import { addressOf } from './arguments.ts'
import { wholeId } from './commands/unshare.ts'

test('a link is read as it comes out of a mail or a chat', () => {
  const link = 'kith:bafkrei?root=A_-b&name=it%27s&via=/ip4/192.0.2.7/tcp/4801'
  for (const pasted of [link, `'${link}'`, `"${link}"`, `<${link}>`, ` “${link}” `, `„${link}“`, `\`${link}\`\n`, `«${link}»`])
    assert.equal(addressOf(pasted), link, pasted)
  assert.equal(addressOf(`${link.slice(0, 20)}\r\n  ${link.slice(20, 40)}\n${link.slice(40)}`), link)
  assert.equal(addressOf('<https://example.org/a%20b>'), 'https://example.org/a%20b')
  assert.equal(addressOf(`'${'ab'.repeat(32)}'`), 'ab'.repeat(32))
})

test('a path stays as it was given', () => {
  assert.equal(addressOf("./'odd name'.torrent"), resolve("./'odd name'.torrent"))
  assert.equal(addressOf('a\nb.torrent'), resolve('a\nb.torrent'))
  assert.equal(addressOf('kith:a b'), 'kith:a b')
})

test('a share is named by the first digits of its id, as status shows them', () => {
  const ids = [`72b8c486${'0'.repeat(56)}`, `72b8c487${'1'.repeat(56)}`, 'f'.repeat(64)]
  for (const text of ['72b8c486', '72B8C4860000', '72b8c486…', '72b8c486...']) assert.equal(wholeId(text, ids), ids[0], text)
  for (const other of ['kith:bafk', 'f'.repeat(64), 'bafkreidsxdcimbsfcyprn', 'ffff']) assert.equal(wholeId(other, ids), other)
  assert.throws(() => wholeId('72b8c4', ids), { code: 'AMBIGUOUS_ID' })
  assert.throws(() => wholeId('abcdef', ids), { code: 'UNKNOWN_SHARE' })
})
