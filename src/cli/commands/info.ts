/** `kith info`: what is known about a file before it is fetched. */
import type { FileInfo } from '../../node/types.ts'
import { addressOf } from '../arguments.ts'
import type { Context, Register } from '../context.ts'
import { clean, formatBytes, formatPrice } from '../format.ts'
import { openSession } from '../session.ts'
import { readStdinLine } from '../terminal-input.ts'

const EXAMPLES = `
Examples:
  kith info 'kith:…'
  kith info ./file.torrent --json       spec 004's protocol-aware metadata`

export const register: Register = (program, act) => {
  program
    .command('info')
    .description('who has a file, over which protocols, and at what price; fetches nothing')
    .argument('<address>', "link, file id, CID, magnet, .torrent file or ed2k link; '-' reads it from stdin")
    .addHelpText('after', EXAMPLES)
    .action(act(info))
}

async function info(context: Context, address: string): Promise<undefined> {
  const text = address === '-' ? await readStdinLine() : address
  await using session = await openSession(context, { serve: false })
  const found = await session.client.inspect(addressOf(text), context.lifetime.signal)
  context.output.result(found, () => describeInfo(found))
}

/** One line about the file, one for each seeder and protocol. */
export function describeInfo(i: FileInfo): string[] {
  const size = i.file_size === undefined ? 'size unknown' : formatBytes(i.file_size)
  const lines = [`${clean(i.file_name ?? i.file_hash)}  ${size}`, `  id       ${clean(i.file_hash, 80)}`]
  for (const [protocol, seeders] of Object.entries(i.seeders)) {
    for (const s of seeders) {
      const part = s.chunks === 'all' ? 'the whole file' : 'a part of it'
      lines.push(`  ${clean(protocol, 12).padEnd(11)} ${clean(s.multiaddr || s.peer_id, 120)}  ${formatPrice(s.price_per_mb)}, ${part}`)
    }
  }
  return [...lines, i.total_seeders === 1 ? '1 seeder' : `${i.total_seeders} seeders`]
}
