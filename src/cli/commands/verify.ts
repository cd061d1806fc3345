/** `kith verify PEER`: the words that two people compare. */
import type { Context, Register } from '../context.ts'
import { clean } from '../format.ts'
import { openSession } from '../session.ts'

export const register: Register = (program, act) => {
  program
    .command('verify')
    .description('show the words of the keys of a peer and of this node: both screens must show the same')
    .argument('<peer>', 'a name you gave it, did:key, PeerId, address or URL')
    .option('--yes', 'they are the same: remember it')
    .option('--differ', 'they differ: forget that they were ever the same')
    .addHelpText('after', '\nExamples:\n  kith verify laptop\n  kith verify laptop --yes')
    .action(act(verify))
}

async function verify(context: Context, peer: string, options: { yes?: boolean; differ?: boolean }): Promise<undefined> {
  await using session = await openSession(context, { serve: false })
  const { ask } = session.client
  const { signal } = context.lifetime
  if (options.yes || options.differ) await ask.changePeer({ peer, verified: options.yes === true }, signal)
  const view = await ask.verify(peer, signal)
  const name = clean(view.name ?? view.entityId, 120)
  context.output.result(view, () => [
    `${name}: ${view.verified ? 'verified' : 'not verified yet'}`,
    `  ${view.words.join(' ')}`,
    view.verified
      ? options.yes
        ? 'Remembered. It is known by its key, whatever address it has.'
        : 'You have compared these words before.'
      : `Run 'kith verify' there too. If both show the same words: kith verify ${clean(peer, 120)} --yes`
  ])
}
