/** Who is next when several lanes have something: mostly the most urgent, but no lane waits for ever (DESIGN §8: ageing). */
import type { Priority } from '../../wire/message-types.ts'

export const LANES: readonly Priority[] = ['high', 'normal', 'low']
export const laneOf = (priority: Priority): number => LANES.indexOf(priority)

/** Of so many turns one is the low lane's first, and so many the normal one's: 5 % and 25 %. */
const TURNS = 20
const NORMAL_EVERY = 4

const URGENT_FIRST: readonly number[] = [0, 1, 2]
const NORMAL_FIRST: readonly number[] = [1, 0, 2]
const LOW_FIRST: readonly number[] = [2, 0, 1]

/** The lanes in the order in which they are looked at in turn number `turn`. */
export function laneOrder(turn: number): readonly number[] {
  const t = turn % TURNS
  if (t === TURNS - 1) return LOW_FIRST
  return t % NORMAL_EVERY === NORMAL_EVERY - 2 ? NORMAL_FIRST : URGENT_FIRST
}
