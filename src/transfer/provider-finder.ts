/** How `transfer` finds seeders: declared here, supplied by `node` from `discovery` (DESIGN §3). */
export interface Provider {
  /** libp2p PeerId text. */
  readonly peerId: string
  /** multiaddr texts; possibly empty when the network layer already knows them. */
  readonly addresses: readonly string[]
}

export interface ProviderFinder {
  /** Yields providers of a file as they are found, each PeerId once, until the lookup is exhausted or aborted. */
  find(fileId: Uint8Array, signal: AbortSignal): AsyncIterable<Provider>
  /** Publishes (and keeps re-publishing) that this node has the file. Resolves after the first publication. */
  announce(fileId: Uint8Array): Promise<void>
  /** Stops re-publishing; the record expires by itself. */
  withdraw(fileId: Uint8Array): Promise<void>
}
