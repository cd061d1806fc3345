/**
 * Identify that tells each peer the addresses it may know (told-addresses.ts). The library tells everybody all of them, in a signed record
 * too, which others hand on.
 */
import type { Identify, identify } from '@libp2p/identify'
import type { Connection, Stream } from '@libp2p/interface'
import { componentsToldTo } from './told-addresses.ts'

type Components = Parameters<ReturnType<typeof identify>>[0]

/** What is used of the library's service. */
interface IdentifyInside extends Identify {
  readonly components: Components
  handleProtocol(stream: Stream, connection: Connection): Promise<void>
}

/** @param make what the library's `identify(…)` returns */
export function identifyWithin(make: ReturnType<typeof identify>): ReturnType<typeof identify> {
  return components => {
    const service = make(components) as IdentifyInside
    const { handleProtocol } = Object.getPrototypeOf(service) as IdentifyInside
    if (!handleProtocol || !service.components) throw new Error('identify has changed: what it tells cannot be limited')
    service.handleProtocol = (stream, connection) => {
      // The service as this peer sees it.
      const view = Object.create(service, { components: { value: toldTo(service.components, connection) } }) as IdentifyInside
      return handleProtocol.call(view, stream, connection)
    }
    return service
  }
}

function toldTo(components: Components, connection: Connection): Components {
  const told = componentsToldTo(components, connection)
  if (told === components) return components
  const { peerStore } = components
  const get: typeof peerStore.get = async (...args) => {
    // The signed record that is kept names all: without it one is made of what is told.
    const { peerRecordEnvelope: _, ...peer } = await peerStore.get(...args)
    return peer
  }
  return Object.create(told, { peerStore: { value: { get } } }) as Components
}
