import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import test from 'node:test'
import fc from 'fast-check'
import { anyText } from '../../test/kits/any-text.ts'
import { displayName, numberedName, safeName } from './safe-name.ts'

const blns = JSON.parse(readFileSync(new URL('../../test/vectors/strings/blns.json', import.meta.url), 'utf8')) as string[]

test('every naughty string becomes one file inside the folder', () => {
  const folder = mkdtempSync(join(tmpdir(), 'kith-names-'))
  try {
    const hostile = [
      '../../etc/passwd',
      '/etc/passwd',
      'a/../../b',
      '..',
      '.',
      '',
      'C:\\x',
      '\\\\host\\x',
      'con',
      'nul.txt',
      'x:stream',
      'dot. ',
      'a\u202egpj.exe',
      'a\0b',
      'a\nb',
      '😀'.repeat(255),
      '\u2044etc',
      '.hidden',
      'aux.c'
    ]
    for (const [i, text] of [...blns, ...hostile].entries()) {
      const name = safeName(text, `fallback-${i}`)
      assert.equal(dirname(resolve(folder, name)), folder, JSON.stringify(text))
      assert.ok(Buffer.byteLength(name) <= 220)
      writeFileSync(join(folder, name), 'x')
    }
    assert.ok(readdirSync(folder).every(f => !f.startsWith('.')))
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('any text gives a name without separators, controls or device names', () => {
  fc.assert(
    fc.property(anyText(), text => {
      const name = safeName(text, 'fallback')
      assert.ok(name.length > 0 && !/[/\\\0-\x1f<>:"|?*]/.test(name) && name !== '.' && name !== '..')
      assert.ok(!/^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i.test(name))
      assert.ok(!/[ .]$/.test(name))
    })
  )
})

test('CH9-CH11: what a hostile name becomes', () => {
  const became: readonly (readonly [string, string])[] = [
    ['..', 'fallback'],
    ['.hidden', '_hidden'],
    ['../../evil', '_._.._evil'],
    ['con', '_con'],
    ['nul.txt', '_nul.txt'],
    ['COM\u00b9.log', '_COM\u00b9.log'],
    ['lpt7', '_lpt7'],
    ['conin$', '_conin$'],
    ['console.log', 'console.log'],
    ['dot. . ', 'dot'],
    ['  front', 'front'],
    ['x:stream', 'x_stream'],
    ['C:\\x', 'C__x'],
    ['gnp\u202eexe.a', 'gnp_exe.a'],
    ['e\u0301.txt', '\u00e9.txt'],
    ['private \ue000', 'private _'],
    ['unassigned \u0378', 'unassigned _'],
    ['lone \ud800', 'lone _'],
    [' .', 'fallback'],
    [`${'x'.repeat(194)}. . y.tar`, `${'x'.repeat(194)}.tar`]
  ]
  for (const [from, to] of became) assert.equal(safeName(from, 'fallback'), to, JSON.stringify(from))
})

test('ordinary names stay as they are', () => {
  for (const name of ['report.pdf', 'Ünïcode é.txt', '日本語.tar.gz', 'a (2).iso', 'UPPER.TXT']) assert.equal(safeName(name, 'x'), name)
  assert.equal(numberedName('report.pdf', 2), 'report (2).pdf')
  assert.equal(numberedName('README', 3), 'README (3)')
  assert.equal(displayName('a\x1b[2Jb\u202ec'), 'a�[2Jb�c')
})
