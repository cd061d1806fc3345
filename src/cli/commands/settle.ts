/** `kith settle`: pays what is queued. */
import type { SettlementReport } from '../../node/types.ts'
import type { Context, Register } from '../context.ts'
import { exitCodes } from '../exit-codes.ts'
import { clean, formatWei } from '../format.ts'
import { openSession } from '../session.ts'

export const register: Register = (program, act) => {
  program
    .command('settle')
    .description('pay now what is owed and queued, for example after the chain was down')
    .addHelpText('after', '\nExamples:\n  kith settle')
    .action(act(settle))
}

async function settle(context: Context): Promise<number> {
  await using session = await openSession(context, { serve: false })
  const reports = await session.client.settle(context.lifetime.signal)
  context.output.result({ settlements: reports }, () => (reports.length === 0 ? ['Nothing is owed.'] : reports.flatMap(describe)))
  return reports.some(r => r.state === 'failed') ? exitCodes.payment : exitCodes.ok
}

function describe(r: SettlementReport): string[] {
  if (r.state === 'nothing-owed') return ['Nothing is owed.']
  return [
    `${r.state}: ${formatWei(r.totalWei)} to ${r.payees.length} payee${r.payees.length === 1 ? '' : 's'}${r.tx ? `, transaction ${clean(r.tx, 80)}` : ''}`,
    ...r.payees.map(p => `  ${clean(p.wallet, 60)}  ${formatWei(p.amountWei)}`),
    ...(r.reason === undefined ? [] : [`  ${clean(r.reason)}`])
  ]
}
