/** In which order the workers that a finder knows are asked. */
import type { EntityId } from '../messaging/types.ts'
import { MAX_CANDIDATES } from './limits.ts'
import type { FoundWorker } from './types.ts'

/** Stands for what was not measured: such a worker comes after the near ones and before the far ones. */
const UNKNOWN_LATENCY_MS = 100
/** A score of so much halves what latency counts for. */
const SCORE_SCALE = 50

/** Near and good first. A score below 0 is never asked. */
export function rankWorkers(found: readonly FoundWorker[]): EntityId[] {
  const cost = ({ latencyMs = UNKNOWN_LATENCY_MS, score = 0 }: FoundWorker): number => (latencyMs + 1) / (1 + score / SCORE_SCALE)
  const usable = found.filter(w => (w.score ?? 0) >= 0)
  const sorted = usable.toSorted((a, b) => cost(a) - cost(b))
  return [...new Set(sorted.map(w => w.entityId))].slice(0, MAX_CANDIDATES)
}
