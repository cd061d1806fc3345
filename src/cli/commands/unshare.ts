/** `kith unshare`: stops seeding. */
import { KithError } from '../../base/errors.ts'
import type { Context, Register } from '../context.ts'
import { clean } from '../format.ts'
import { openSession } from '../session.ts'

export const register: Register = (program, act) => {
  program
    .command('unshare')
    .description('stop seeding a file: offers and records are withdrawn; the file itself is not touched')
    .argument('<id>', 'file id (hex; its first digits are enough), CID or link; info-hash or magnet link of a torrent of others')
    .addHelpText('after', '\nExamples:\n  kith unshare 9f86d081884c7d65          as kith status shows it')
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
  const whole = wholeId(
    id,
    (await session.client.shares(context.lifetime.signal)).map(s => s.fileId)
  )
  const view = await session.client.unshare(whole.split('#', 1)[0]!, context.lifetime.signal)
  context.output.result(view, () => [`${clean(view.name)} is no longer shared. The file stays: ${clean(view.path, 4096)}`])
}

const MIN_DIGITS = 6

/** The file id that begins with these digits, as `kith status` shows them. Anything else is left as it is. @throws AMBIGUOUS_ID, UNKNOWN_SHARE */
export function wholeId(text: string, fileIds: readonly string[]): string {
  const digits = text
    .trim()
    .toLowerCase()
    .replace(/(?:…|\.\.\.)$/, '')
  if (!/^[0-9a-f]{1,63}$/.test(digits) || digits.length < MIN_DIGITS) return text
  const found = fileIds.filter(id => id.startsWith(digits))
  if (found.length === 1) return found[0]!
  const hint = 'kith status shows what is seeded, and its ids'
  if (found.length === 0) throw new KithError('UNKNOWN_SHARE', 'nothing that is shared has an id that begins so', {}, { hint })
  throw new KithError('AMBIGUOUS_ID', `${found.length} shares have ids that begin so`, {}, { hint: 'give more of its digits' })
}
