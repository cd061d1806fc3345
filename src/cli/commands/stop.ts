/** `kith stop`: ends the node that runs for this home. */
import { systemClock } from '../../base/clock.ts'
import { KithError } from '../../base/errors.ts'
import type { Context, Register } from '../context.ts'
import { findRunning } from '../session.ts'

export const register: Register = (program, act) => {
  program
    .command('stop')
    .description('end the node that runs for this home')
    .addHelpText('after', '\nExamples:\n  kith stop')
    .action(act(stop))
}

/** How long a node may take to end: as after SIGTERM, and a little. */
const END_MS = 6_000

async function stop(context: Context): Promise<undefined> {
  const config = await context.config()
  await using session = await findRunning(config)
  if (!session)
    throw new KithError(
      'NODE_UNREACHABLE',
      'no node runs for this home',
      {},
      { hint: '--home FOLDER, if you mean the node of another home' }
    )
  await session.client.stop(context.lifetime.signal)
  const deadline = systemClock.monotonic() + END_MS
  while (await findRunning(config)) {
    if (systemClock.monotonic() > deadline) throw new KithError('API_TIMEOUT', 'the node is still running', {}, { hint: 'kith status' })
    await systemClock.sleep(100, context.lifetime.signal)
  }
  context.output.result({ stopped: true }, () => ['Stopped.'])
}
