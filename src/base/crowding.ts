/**
 * Who makes room when all places are taken: not whoever comes, nor whoever came first, but one of the group that holds most of them. So
 * a group that takes all it can get only ever displaces its own.
 */

export interface Crowd<T> {
  /** Its member that has its place for longest. */
  readonly oldest: T
  readonly size: number
}

/** @param places oldest first @returns of the largest group; of equals the one whose oldest came first; undefined when nobody has a place */
export function mostCrowded<T>(places: Iterable<T>, groupOf: (place: T) => string): Crowd<T> | undefined {
  const crowds = new Map<string, { readonly oldest: T; size: number }>()
  for (const place of places) {
    const group = groupOf(place)
    const crowd = crowds.get(group)
    if (crowd) crowd.size++
    else crowds.set(group, { oldest: place, size: 1 })
  }
  let most: Crowd<T> | undefined
  for (const crowd of crowds.values()) if (!most || crowd.size > most.size) most = crowd
  return most
}
