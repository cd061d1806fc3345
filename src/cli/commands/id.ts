/** `kith id`: who this home is. */
import { existsSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { systemClock } from '../../base/clock.ts'
import { KithError } from '../../base/errors.ts'
import type { Identity } from '../../identity/identity.ts'
import { openIdentity, restoreIdentity } from '../../identity/open.node.ts'
import type { Config } from '../../node/config.ts'
import { lockFolder, writeFileDurably } from '../../platform/files.node.ts'
import type { Context, Register } from '../context.ts'
import { askSecret, readFileLine, readStdinLine } from '../terminal-input.ts'

const EXAMPLES = `
Examples:
  kith id show                         ids, and words to compare on two screens
  kith id phrase                       the recovery phrase, on a terminal only
  kith id phrase --out words.txt       into a file that only you can read
  kith id restore --phrase-file words.txt --home ./new-home`

export const register: Register = (program, act) => {
  const id = program.command('id').description('show who this home is, keep or restore its recovery phrase').addHelpText('after', EXAMPLES)
  id.command('show').description('ids of the person, this device and its node, and the fingerprint').action(act(show))
  id.command('phrase')
    .description('show the recovery phrase, which restores the person and the wallet')
    .option('--out <file>', 'write it to a new file of mode 0600')
    .action(act(phrase))
  id.command('restore')
    .description('make this home, which must be unused, the person behind a recovery phrase')
    .argument('[source]', "'-' reads the phrase from stdin")
    .option('--phrase-file <file>', 'read the phrase from a file')
    .action(act(restore))
}

const folderOf = (config: Config): string => join(config.folders.data, 'identity')
const isUnused = (folder: string): boolean => !existsSync(folder) || readdirSync(folder).length === 0

/** Reading needs no lock: the files are replaced as a whole. Making them does. */
async function open(config: Config): Promise<Identity> {
  const folder = folderOf(config)
  using _ = isUnused(folder) ? lockFolder(config.folders.data) : undefined
  return await openIdentity(folder, { clock: systemClock })
}

async function describe(context: Context, identity: Identity): Promise<undefined> {
  const fingerprint = await identity.fingerprint()
  const view = {
    person: identity.person.did,
    instance: identity.instance.did,
    peerId: identity.peerId,
    fingerprint: fingerprint.join(' '),
    createdAt: identity.createdAt
  }
  context.output.result(view, () => [
    `person       ${view.person}`,
    `this device  ${view.instance}`,
    `node         ${view.peerId}`,
    `fingerprint  ${view.fingerprint}`
  ])
}

async function show(context: Context): Promise<undefined> {
  return await describe(context, await open(await context.config()))
}

async function phrase(context: Context, options: { readonly out?: string }): Promise<undefined> {
  const hint = 'use --out FILE'
  if (options.out === undefined && process.stdout.isTTY !== true) {
    throw new KithError('NO_TTY', 'the recovery phrase is shown on a terminal only', {}, { hint })
  }
  const words = (await open(await context.config())).phrase()
  if (words === undefined)
    throw new KithError('NO_PHRASE', 'this home keeps no recovery phrase', {}, { hint: 'it was removed, or never was here' })
  if (options.out === undefined) {
    process.stdout.write(`${words}\n`)
    return
  }
  const path = resolve(options.out)
  if (existsSync(path)) throw new KithError('USAGE', `${path} exists`, { path }, { hint: 'name a new file' })
  writeFileDurably(path, `${words}\n`)
  context.output.result({ path }, () => [`Written to ${path}. Keep it safe: whoever has it has the wallet.`])
}

async function restore(context: Context, source: string | undefined, options: { readonly phraseFile?: string }): Promise<undefined> {
  const config = await context.config()
  const { signal } = context.lifetime
  const words =
    options.phraseFile !== undefined
      ? readFileLine(options.phraseFile)
      : source === '-'
        ? await readStdinLine()
        : await askSecret('Recovery phrase (not shown): ', 'use --phrase-file FILE, or - for stdin', signal)
  using _ = lockFolder(config.folders.data)
  return await describe(context, await restoreIdentity(folderOf(config), words, { clock: systemClock }))
}
