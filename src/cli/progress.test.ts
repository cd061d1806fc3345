import assert from 'node:assert/strict'
import test from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import { downloadView, sourceView } from '../../test/kits/scripted-node.ts'
import { LiveScreen } from './live-screen.ts'
import { colourPalette, renderDownload, summaryLine } from './progress.ts'
import { widthOf } from './text-width.ts'

const sources = [
  sourceView({ key: 'a', peer: 'QmSeedA', bytes: 300, rate: 3e6, chunks: 3 }),
  sourceView({
    key: 'b',
    protocol: 'bittorrent',
    peer: '\u001b[2Jevil',
    bytes: 100,
    rate: 1e6,
    pricePerMb: '5',
    owedWei: '1000000000000000'
  }),
  sourceView({ key: 'c', peer: 'QmSeedC', bytes: 0, rate: 0, state: 'dropped', badChunks: 2, note: 'sent wrong bytes' })
]

test('a download is one line, and one for each source', () => {
  const lines = renderDownload(downloadView({ sources, verifiedBytes: 786_432, owedWei: '1000000000000000' }), 110)
  assert.equal(lines.length, 4)
  assert.match(lines[0]!, /^file\.iso .*█.* {1,2}75% {2}786 kB of 1\.0 MB {2}8\.0 MB\/s {2}1 s left {2}owes 0\.001 coin$/)
  assert.match(lines[1]!, /http +QmSeedA +3\.0 MB\/s +300 B/)
  assert.match(lines[2]!, /bittorrent +�\[2Jevil .*owes 0\.001 coin/)
  assert.match(lines[3]!, /QmSeedC .*dropped, 2 bad, sent wrong bytes/)
})

test('no line is wider than the terminal, and a crowd of sources is counted', () => {
  const many = Array.from({ length: 40 }, (_, i) => sourceView({ key: `${i}`, peer: `日本語${i}`, bytes: i }))
  for (const columns of [20, 40, 80, 120, 300]) {
    for (const view of [
      downloadView({ sources: many, name: '長い名前'.repeat(20) }),
      downloadView({ state: 'finding', size: undefined, sources: [] })
    ]) {
      const lines = renderDownload(view, columns, colourPalette)
      assert.ok(lines.length <= 15)
      for (const l of lines) assert.ok(widthOf(stripVTControlCharacters(l)) <= columns, `${columns}: ${l}`)
    }
  }
  assert.match(renderDownload(downloadView({ sources: many }), 80).join('\n'), /and 28 more sources/)
})

test('without a terminal a line says how far it is', () => {
  assert.equal(summaryLine(downloadView({ sources })), '50% of 1.0 MB, 8.0 MB/s from 2 sources (bittorrent, http), 1 s left')
  assert.equal(summaryLine(downloadView({ size: undefined, state: 'finding', message: 'asking the DHT' })), 'finding: asking the DHT')
})

test('the screen draws in place, at most ten times a second, and gives the cursor back', () => {
  let now = 0
  let out = ''
  const screen = new LiveScreen({ write: text => (out += text), columns: 80 }, { monotonic: () => now })
  screen.draw(() => ['one', 'two'])
  assert.equal(out, '\u001b[?25lone\u001b[K\ntwo\u001b[K\n\u001b[J')
  out = ''
  now = 50
  screen.draw(() => assert.fail('too soon'))
  screen.draw(() => ['last'], true)
  assert.equal(out, '\u001b[2A\rlast\u001b[K\n\u001b[J')
  out = ''
  screen[Symbol.dispose]()
  screen[Symbol.dispose]()
  screen.draw(() => ['after'], true)
  assert.equal(out, '\u001b[?25h')
})

test('a narrow terminal keeps rate and time rather than sizes', () => {
  const view = downloadView({ state: 'fetching', size: 300_000_000, verifiedBytes: 85_200_000, rate: 48_000_000, etaSeconds: 4 })
  assert.match(renderDownload(view, 40)[0]!, /28% {2}48\.0 MB\/s {2}4 s left$/)
  assert.match(renderDownload(view, 100)[0]!, /28% {2}85\.2 MB of 300 MB {2}48\.0 MB\/s {2}4 s left$/)
})
