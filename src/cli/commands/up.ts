/** `kith up`: a node in the foreground. */
import { KithError } from '../../base/errors.ts'
import type { Context, Register } from '../context.ts'
import { showSeeding } from '../seeding-screen.ts'
import { openSession, readyOf } from '../session.ts'

const EXAMPLES = `
Examples:
  kith up
  kith up --home ./node1 --port 0 --json
  kith up --bootstrap /ip4/192.0.2.7/tcp/4801/p2p/12D3KooW…
While it runs, share, get, status and the others are its clients. With --json it prints one line when it is ready.`

export const register: Register = (program, act) => {
  program
    .command('up')
    .description('keep a node running: it seeds what this home shares and answers the local API')
    .addHelpText('after', EXAMPLES)
    .action(act(up))
}

async function up(context: Context): Promise<undefined> {
  await using session = await openSession(context, { resume: true })
  if (!session.own) {
    throw new KithError('ALREADY_RUNNING', `a node runs for this home already: ${await session.apiUrl()}`, {}, { hint: 'kith status' })
  }
  const ready = await readyOf(session)
  const [shares, self] = await Promise.all([session.client.shares(), session.client.ask.self()])
  context.output.result({ ...ready, entityId: self.entityId, ...(self.url === undefined ? {} : { messages: self.url }) }, () => [
    `Node ${ready.peerId}`,
    ...ready.addresses.map(a => `  ${a}`),
    `Messages to ${self.entityId}${self.url === undefined ? '' : `, or POST ${self.url}/message`}`,
    `API ${ready.api}, home ${ready.home}`,
    shares.length === 0 ? 'Nothing is shared yet: kith share FILE' : `Seeding ${shares.length} file${shares.length === 1 ? '' : 's'}.`,
    'Press Ctrl-C to stop.'
  ])
  {
    await using _ = showSeeding(context, session.client)
    await context.lifetime.ended()
  }
  context.output.result({ stopped: true }, () => ['Stopped.'])
}
