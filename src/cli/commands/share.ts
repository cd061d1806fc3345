/** `kith share`: offers files to others. */
import { resolve } from 'node:path'
import { Option } from 'commander'
import type { NodeClient } from '../../api/node-client.ts'
import type { NodeEvent, ShareRequest, ShareView } from '../../node/types.ts'
import { parseCoin } from '../../wire/wei.ts'
import { collect, protocolsOf } from '../arguments.ts'
import type { Context, Register } from '../context.ts'
import { clean, formatBytes, formatPrice, parseSize } from '../format.ts'
import { hashingLine } from '../progress.ts'
import { showSeeding } from '../seeding-screen.ts'
import { openSession, readyOf } from '../session.ts'
import { passphraseOf } from '../terminal-input.ts'
import { truncate } from '../text-width.ts'

interface ShareOptions {
  readonly price?: string
  readonly name?: string
  readonly protocol?: readonly string[]
  readonly protocols?: string
  readonly encrypt?: boolean
  readonly passphrase?: boolean
  readonly passphraseFile?: string
  readonly tracker?: readonly string[]
  readonly uploadLimit?: string
  readonly credit?: string
  readonly qr?: boolean
  readonly wait?: boolean
}

const EXAMPLES = `
Examples:
  kith share ./film.mkv
  kith share ./film.mkv --price 0.001 --qr
  kith share ./a.iso ./b.iso --upload-limit 8M
While 'kith up' runs, share hands the file to that node and ends; otherwise it seeds until Ctrl-C.
Shares stay known to this home: the next 'kith up' seeds them again, until 'kith unshare'.`

export const register: Register = (program, act) => {
  program
    .command('share')
    .description('share files and print their link, magnet, .torrent, ed2k and HTTP addresses')
    .argument('<file...>', 'files to share')
    .option('--price <coin>', 'price per MB (2^20 bytes) in the coin of the chain; free if absent')
    .option('--name <name>', 'name to show instead of the file name (one file only)')
    .addOption(new Option('--protocol <name>', 'serve over this protocol only (repeatable)').argParser(collect))
    .option('--protocols <names>', 'the same as a list: http,bittorrent')
    .option('--encrypt', 'offer only ciphertext; the key is in the link')
    .option('--passphrase', 'with --encrypt: ask for a passphrase instead of putting the key into the link')
    .option('--passphrase-file <file>', 'the same, from the first line of a file of mode 0600')
    .addOption(new Option('--tracker <url>', 'announce to this BitTorrent tracker (repeatable); none by default').argParser(collect))
    .option('--upload-limit <rate>', 'bytes per second for each file, for example 8M')
    .option('--credit <size>', 'unpaid bytes that strangers may take of a paid file; 1 MiB by default')
    .option('--qr', 'also draw the link as a QR code')
    .option('--wait', 'stay until Ctrl-C even when another process seeds')
    .addHelpText('after', EXAMPLES)
    .action(act(share))
}

async function share(context: Context, files: string[], options: ShareOptions): Promise<undefined> {
  const secret = await passphraseOf(options, 'Passphrase for the encrypted file', context.lifetime.signal)
  const requests = files.map(file => requestOf(file, options, secret))
  await using session = await openSession(context)
  const views: ShareView[] = []
  {
    await using _ = showHashing(context, session.client)
    for (const request of requests) views.push(await session.client.share(request, context.lifetime.signal))
  }
  const stays = session.own || options.wait === true
  const first = views[0]!
  const ready = { ...(await readyOf(session)), ...first, shares: views }
  const encodeQr = options.qr && !context.output.json ? (await import('qr')).encodeQR : undefined
  context.output.result(ready, () => [
    ...views.flatMap(v => describe(v, encodeQr ? encodeQr(v.link, 'ascii') : undefined)),
    // The link has characters that a shell would take for its own.
    `On the other machine: kith get '${views.length === 1 ? clean(first.link, 4096) : 'LINK'}'`,
    stays ? 'Seeding. Press Ctrl-C to stop.' : `The running node seeds ${views.length === 1 ? 'it' : 'them'}.`
  ])
  if (!stays) return
  {
    await using _ = showSeeding(context, session.client)
    await context.lifetime.ended()
  }
  if (session.own) await reportEnd(context, session.client, views)
}

function requestOf(file: string, options: ShareOptions, secret: { readonly passphrase?: string }): ShareRequest {
  return {
    path: resolve(file),
    ...(options.price === undefined ? {} : { pricePerMb: parseCoin(options.price).toString() }),
    ...(options.name === undefined ? {} : { name: options.name }),
    ...protocolsOf(options),
    ...(options.encrypt === undefined ? {} : { encrypt: options.encrypt }),
    ...secret,
    ...(options.tracker === undefined ? {} : { trackers: options.tracker }),
    ...(options.uploadLimit === undefined ? {} : { uploadLimit: parseSize(options.uploadLimit) }),
    ...(options.credit === undefined ? {} : { creditBytes: parseSize(options.credit) })
  }
}

/** Every address of a file, for people. */
export function describe(v: ShareView, qr?: string): string[] {
  return [
    `${clean(v.name)}  ${formatBytes(v.size)}  ${formatPrice(v.pricePerMb)}`,
    `  link     ${clean(v.link, 4096)}`,
    ...(v.magnet === undefined ? [] : [`  magnet   ${clean(v.magnet, 4096)}`]),
    ...(v.torrentPath === undefined ? [] : [`  torrent  ${clean(v.torrentPath, 4096)}`]),
    ...(v.plainTorrentPath === undefined ? [] : [`  v1 only  ${clean(v.plainTorrentPath, 4096)}  (for aria2 and Transmission 3)`]),
    ...(v.ed2k === undefined ? [] : [`  ed2k     ${clean(v.ed2k, 4096)}`]),
    ...v.httpUrls.map(url => `  http     ${clean(url, 2048)}`),
    `  cid      ${v.cid}`,
    `  sha256   ${v.fileId}`,
    ...(qr === undefined ? [] : ['', ...qr.trimEnd().split('\n')])
  ]
}

/** A link is told before the other addresses when those take longer than this. */
const EARLY_MS = 500

/** Shows hashing until disposed: a line in place on a terminal, JSON for scripts. */
function showHashing(context: Context, client: NodeClient): AsyncDisposable {
  const stop = new AbortController()
  const screen = context.output.screen()
  const early: NodeJS.Timeout[] = []
  const show = async (events: AsyncIterable<NodeEvent>): Promise<void> => {
    for await (const event of events) {
      if (event.type !== 'share:progress' && event.type !== 'share:linked') continue
      context.output.event(event)
      if (event.type === 'share:linked') {
        // Of use only while the rest takes time: the result has it again.
        const tell = (): void => {
          screen?.clear()
          context.output.note(`  link     ${clean(event.link, 4096)}`)
        }
        if (!context.output.json) early.push(setTimeout(tell, EARLY_MS))
        continue
      }
      screen?.draw(() => [truncate(`${clean(event.path, 60)}: ${hashingLine(event)}`, screen.columns)])
    }
  }
  // Without a stream there is no picture, but the share goes on.
  const shown = client
    .events({}, stop.signal)
    .then(show)
    .catch(() => {})
  return {
    [Symbol.asyncDispose]: async () => {
      for (const timer of early) clearTimeout(timer)
      stop.abort()
      await shown
      screen?.clear()
      screen?.[Symbol.dispose]()
    }
  }
}

async function reportEnd(context: Context, client: NodeClient, views: readonly ShareView[]): Promise<void> {
  const ids = new Set(views.map(v => v.fileId))
  const now = (await client.shares()).filter(v => ids.has(v.fileId))
  const uploadedBytes = now.reduce((n, v) => n + v.uploadedBytes, 0)
  context.output.result({ stopped: true, uploadedBytes }, () => [`Stopped after sending ${formatBytes(uploadedBytes)}.`])
}
