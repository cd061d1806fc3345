/** Several settlements of one download, shown as one. */
import type { SettlementView } from './payment-gate.ts'

/** The last transaction, all payees. */
export function mergeSettlements(before: SettlementView | undefined, now: SettlementView): SettlementView {
  if (!before || before.state === 'nothing-owed') return now
  if (now.state === 'nothing-owed') return before
  const gasUsed = before.gasUsed === undefined && now.gasUsed === undefined ? undefined : (before.gasUsed ?? 0n) + (now.gasUsed ?? 0n)
  return { ...now, totalWei: before.totalWei + now.totalWei, gasUsed, payees: joinPayees([...before.payees, ...now.payees]) }
}

/** One line for each seeder, however often it was paid. */
function joinPayees(payees: SettlementView['payees']): SettlementView['payees'] {
  const bySeeder = new Map<string, SettlementView['payees'][number]>()
  for (const p of payees) {
    const known = bySeeder.get(p.seeder)
    bySeeder.set(p.seeder, known ? { ...p, amountWei: known.amountWei + p.amountWei, bytes: known.bytes + p.bytes } : p)
  }
  return [...bySeeder.values()]
}
