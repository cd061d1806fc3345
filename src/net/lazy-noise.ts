/**
 * Noise, loaded when a peer asks for it: peers of ours speak TLS, and its WebAssembly would be compiled in every start. What a peer sends
 * meanwhile waits in its connection, which bounds it; the deadline of the handshake is the caller's.
 */
import { type ConnectionEncrypter, serviceCapabilities } from '@libp2p/interface'
import type { NoiseComponents } from '@libp2p/noise'

type Secure = ConnectionEncrypter['secureInbound']

/** Factory of the encrypter for `createLibp2p`; same name and capability as the library's. */
export function lazyNoise(components: NoiseComponents): ConnectionEncrypter {
  let loading: Promise<ConnectionEncrypter> | undefined
  const load = (): Promise<ConnectionEncrypter> => {
    loading ??= import('@libp2p/noise').then(({ noise }) => noise()(components))
    return loading
  }
  const secureInbound: Secure = async (connection, options) => (await load()).secureInbound(connection, options)
  const secureOutbound: Secure = async (connection, options) => (await load()).secureOutbound(connection, options)
  const capabilities = { [serviceCapabilities]: ['@libp2p/connection-encryption', '@libp2p/noise'] }
  return { protocol: '/noise', secureInbound, secureOutbound, ...capabilities }
}
