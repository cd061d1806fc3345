/**
 * The native WebRTC library, loaded when it is first needed: most nodes of a machine that never uses it pay nothing. It has threads of
 * its own, which must be ended before the process exits.
 */
import type { PeerConnection, RtcConfig, SctpSettings } from 'node-datachannel'
import { KithError } from '../../base/errors.ts'
import { SCTP_BUFFER_BYTES } from './limits.ts'

/** What is used of it. */
export interface RtcLibrary {
  readonly PeerConnection: new (name: string, config: RtcConfig) => PeerConnection
  setSctpSettings(settings: SctpSettings): void
  cleanup(): void
}

export type LoadRtc = () => Promise<RtcLibrary>

const loadInstalled: LoadRtc = () => import('node-datachannel')
let loaded: Promise<RtcLibrary> | undefined

/** @throws WEBRTC_UNAVAILABLE when the package or its binary for this machine is missing */
export async function loadRtc(load: LoadRtc = loadInstalled): Promise<RtcLibrary> {
  try {
    if (load !== loadInstalled) return await load()
    loaded ??= loadInstalled().then(prepare)
    return await loaded
  } catch (cause) {
    loaded = undefined
    throw new KithError(
      'WEBRTC_UNAVAILABLE',
      'WebTorrent is off: the library for WebRTC is not installed for this machine',
      {},
      { cause, hint: 'npm install node-datachannel; everything else works without it' }
    )
  }
}

/**
 * Says that the caller has connections, until the result is disposed. The last one lets the library free everything: a channel that the
 * other side closed in the moment it came here is never told so, and its callback would hold the process for ever.
 */
export function useRtc(): Disposable {
  users++
  let used = true
  return {
    [Symbol.dispose]: () => {
      if (used && --users === 0 && prepared) cleanUp(prepared)
      used = false
    }
  }
}

let users = 0
let prepared: RtcLibrary | undefined

/** Settings are for the whole process. Without `cleanup` its threads would meet a process that is half gone. */
function prepare(library: RtcLibrary): RtcLibrary {
  prepared = library
  library.setSctpSettings({ recvBufferSize: SCTP_BUFFER_BYTES, sendBufferSize: SCTP_BUFFER_BYTES })
  process.once('exit', () => cleanUp(library))
  return library
}

/** Ends the library's threads; the next connection starts them again. */
function cleanUp(library: RtcLibrary): void {
  try {
    library.cleanup()
  } catch {
    // a thread did not end in time: nothing more can be done about it
  }
}
