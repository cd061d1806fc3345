import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import type { Command } from 'commander'
import { completionScript, shells } from './completion-script.ts'
import { buildProgram } from './program.ts'

const root = join(import.meta.dirname, '../..')
const program = await buildProgram(() => async () => {}, [])
const all = (c: Command): Command[] => [c, ...c.commands.flatMap(all)]

test('every command has a description, and docs/cli.md names every command and option', () => {
  const text = readFileSync(join(root, 'docs/cli.md'), 'utf8')
  for (const c of all(program)) {
    assert.notEqual(c.description(), '', c.name())
    if (c !== program) assert.ok(text.includes(c.name()), c.name())
    for (const o of c.options) assert.ok(text.includes(o.long!), `${c.name()} ${o.long}`)
  }
})

test('the help of every command ends with examples of it, and says where the options of all are', () => {
  const helpOf = (c: Command): string => {
    let text = ''
    c.configureOutput({ writeOut: part => (text += part) }).outputHelp()
    return text
  }
  const check = (c: Command, path: string): void => {
    const help = helpOf(c)
    assert.match(help, new RegExp(`\nExamples:\n(?:.*\n)*.*${path}`), path)
    assert.match(help, /Options that every command has .*: kith --help/, path)
    assert.doesNotMatch(help, /--wallet-passphrase-file/, path)
    for (const inner of c.commands) check(inner, `${path} ${inner.name()}`)
  }
  for (const c of program.commands) check(c, `kith ${c.name()}`)
  assert.match(helpOf(program), /--wallet-passphrase-file/)
})

test('a command line loads only the commands it may mean', async () => {
  const one = await buildProgram(() => async () => {}, ['--home', 'share', 'status'])
  assert.deepEqual(
    one.commands.map(c => c.name()),
    ['share', 'status']
  )
})

test('the entry loads nothing but the version before it knows what is asked', () => {
  const imports = (file: string): string[] =>
    [...readFileSync(join(import.meta.dirname, file), 'utf8').matchAll(/^import .*'(.+)'/gm)].map(m => m[1]!)
  assert.deepEqual(imports('main.ts'), ['../node/version.ts'])
  assert.deepEqual(imports('../node/version.ts'), [])
})

test('bash completes commands, their subcommands and options', () => {
  const script = completionScript(program, 'bash')
  const complete = (...words: string[]): string[] => {
    const body = `${script}\nCOMP_WORDS=(kith ${words.map(w => `'${w}'`).join(' ')}); COMP_CWORD=${words.length}; _kith; printf '%s\\n' "\${COMPREPLY[@]}"`
    return execFileSync('bash', ['--norc', '-c', body], { encoding: 'utf8' }).trim().split('\n')
  }
  assert.deepEqual(complete('un'), ['unshare'])
  assert.deepEqual(complete('wallet', 're'), ['restore', 'receipts'])
  assert.deepEqual(complete('share', '--pr'), ['--price', '--protocol', '--protocols', '--proxy'])
  assert.deepEqual(complete('--json', 'wallet', 'send', '--api'), ['--api-port'])
})

test('completion scripts have the syntax of their shell', { concurrency: false }, t => {
  for (const shell of shells) {
    const script = completionScript(program, shell)
    for (const c of program.commands) assert.ok(script.includes(c.name()), `${shell}: ${c.name()}`)
    if (!existsSync(`/usr/bin/${shell}`)) {
      t.diagnostic(`${shell} is not installed (Debian package: ${shell}): syntax not checked`)
      continue
    }
    execFileSync(shell, ['-n'], { input: script })
  }
})
