/** The metric of Kademlia (Maymounkov and Mazières, 2002, §2.1): ids of one length, near when their exclusive or is small. Pure. */

/** Which of two ids is nearer to `target`: negative when `a` is, 0 when they are the same. */
export function compareDistance(target: Uint8Array, a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < target.length; i++) {
    const d = (a[i]! ^ target[i]!) - (b[i]! ^ target[i]!)
    if (d !== 0) return d
  }
  return 0
}

/** Leading bits that two ids share: all of them when they are the same. */
export function sharedBits(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < a.length; i++) {
    const d = a[i]! ^ b[i]!
    if (d !== 0) return 8 * i + Math.clz32(d) - 24
  }
  return 8 * a.length
}
