/** Which protocols do not work for this download at all: they failed with several seeders and brought nothing from any. */
import { FAILING_SEEDERS } from '../limits.ts'

export class ProtocolHealth {
  /** Seeders a protocol failed with, by protocol; no longer counted than needed. */
  readonly #failed = new Map<string, Set<string>>()
  readonly #worked = new Set<string>()

  /** It brought a chunk from somebody. */
  worked(protocol: string): void {
    this.#worked.add(protocol)
    this.#failed.delete(protocol)
  }
  /** It could not be opened with this seeder, or ended without having brought a chunk. */
  failed(protocol: string, peerId: string): void {
    if (this.#worked.has(protocol)) return
    const seeders = this.#failed.get(protocol) ?? new Set()
    this.#failed.set(protocol, seeders)
    if (seeders.size < FAILING_SEEDERS) seeders.add(peerId)
  }
  get failing(): ReadonlySet<string> {
    return new Set([...this.#failed].filter(([, seeders]) => seeders.size >= FAILING_SEEDERS).map(([name]) => name))
  }
}
