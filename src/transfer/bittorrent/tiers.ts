/** Trackers in tiers (BEP 12): shuffled within each tier, asked in order until one answers, which then comes first in its tier. Pure. */

/** Random number in [0, 1). */
export type Random = () => number

export class TrackerTiers {
  readonly #tiers: string[][]

  constructor(tiers: readonly (readonly string[])[], random: Random = Math.random) {
    this.#tiers = tiers.map(tier => shuffled(tier, random)).filter(tier => tier.length > 0)
  }

  /** The order in which to ask. */
  get order(): readonly string[] {
    return this.#tiers.flat()
  }

  /** This one answered. */
  promote(tracker: string): void {
    for (const tier of this.#tiers) {
      const at = tier.indexOf(tracker)
      if (at < 0) continue
      tier.splice(at, 1)
      tier.unshift(tracker)
      return
    }
  }
}

function shuffled(tier: readonly string[], random: Random): string[] {
  const out = [...tier]
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1))
    const t = out[i]!
    out[i] = out[j]!
    out[j] = t
  }
  return out
}
