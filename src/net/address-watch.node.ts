/** Tells when an address of this machine is gone: another network, another lease, a cable pulled. */
import { networkInterfaces } from 'node:os'
import type { Clock } from '../base/clock.ts'
import { ADDRESS_WATCH_MS } from './limits.ts'

/** Addresses of this machine now. */
export const ownAddresses = (): string[] => Object.values(networkInterfaces()).flatMap(all => (all ?? []).map(a => a.address))

/** Watches until disposed. @param onLost must not throw @param read for tests */
export function watchAddresses(
  clock: Pick<Clock, 'sleep'>,
  onLost: () => void,
  read: () => readonly string[] = ownAddresses
): AsyncDisposable {
  const closing = new AbortController()
  const watch = async (): Promise<void> => {
    let before = read()
    while (!closing.signal.aborted) {
      await clock.sleep(ADDRESS_WATCH_MS, closing.signal).catch(() => {})
      const now = read()
      if (!closing.signal.aborted && before.some(a => !now.includes(a))) onLost()
      before = now
    }
  }
  const watching = watch()
  return {
    async [Symbol.asyncDispose]() {
      closing.abort()
      await watching
    }
  }
}
