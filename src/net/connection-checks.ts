/**
 * Asks connections whether they still work, when there is a reason to doubt it: this machine has lost an address, or the peer has come by
 * another way. TCP alone notices that after minutes. Only silence counts against a connection: whatever the peer answers, it is there.
 */
import type { Connection, Stream } from '@libp2p/interface'
import { CHECK_TIMEOUT_MS } from './limits.ts'

const PING = '/kith/ping/1.0.0'
const PING_BYTES = 32

type Checked = Pick<Connection, 'newStream' | 'status' | 'abort'>

export class ConnectionChecks implements Disposable {
  readonly #running = new Set<Checked>()
  readonly #closing = new AbortController()

  /** Cuts the connection if the peer says nothing for CHECK_TIMEOUT_MS. One check of a connection at a time. Never throws. */
  check(connection: Checked): void {
    if (this.#running.has(connection) || this.#closing.signal.aborted || connection.status !== 'open') return
    this.#running.add(connection)
    void this.#check(connection).finally(() => this.#running.delete(connection))
  }

  [Symbol.dispose](): void {
    this.#closing.abort()
  }

  async #check(connection: Checked): Promise<void> {
    const late = AbortSignal.timeout(CHECK_TIMEOUT_MS)
    const signal = AbortSignal.any([late, this.#closing.signal])
    let stream: Stream | undefined
    try {
      const { byteStream } = await import('@libp2p/utils')
      stream = await connection.newStream(PING, { signal, runOnLimitedConnection: true })
      const bytes = byteStream(stream)
      await bytes.write(new Uint8Array(PING_BYTES), { signal })
      await bytes.read({ bytes: PING_BYTES, signal })
      await stream.close({ signal })
    } catch (error) {
      stream?.abort(error instanceof Error ? error : new Error('the check ended'))
      if (late.aborted && connection.status === 'open') connection.abort(new Error('the peer does not answer'))
    }
  }
}
