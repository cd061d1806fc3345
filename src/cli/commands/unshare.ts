/** `kith unshare`: stops seeding. */
import type { Context, Register } from '../context.ts'
import { clean } from '../format.ts'
import { openSession } from '../session.ts'

export const register: Register = (program, act) => {
  program
    .command('unshare')
    .description('stop seeding a file: offers and records are withdrawn; the file itself is not touched')
    .argument('<id>', 'file id (hex), CID or link; info-hash or magnet link of a torrent of others')
    .addHelpText('after', '\nExamples:\n  kith unshare 9f86d081884c7d65…')
    .action(act(unshare))
}

async function unshare(context: Context, id: string): Promise<undefined> {
  await using session = await openSession(context, { serve: false })
  if (/^(?:magnet:|[0-9a-f]{40}$)/i.test(id)) {
    const view = await session.client.dropTorrent(id, context.lifetime.signal)
    context.output.result(view, () => [`${clean(view.name)} is no longer seeded. What was fetched stays: ${clean(view.path, 4096)}`])
    return
  }
  // The secret of a link is not needed to name the file.
  const view = await session.client.unshare(id.split('#', 1)[0]!, context.lifetime.signal)
  context.output.result(view, () => [`${clean(view.name)} is no longer shared. The file stays: ${clean(view.path, 4096)}`])
}
