/**
 * The public IPFS (Amino) DHT beside Kith's own, for `--public`: the same CIDs under the public protocol names, as a client that stores
 * nothing for others. Its records also lead to peers that have the file but do not speak Kith; those refuse our requests and are left.
 */
import type { Identify, identify } from '@libp2p/identify'
import type { KadDHTComponents } from '@libp2p/kad-dht'
import type { Ping, ping } from '@libp2p/ping'
import type { ScopeGate } from '../net/scope-gate.ts'
import { identifyWithin } from '../net/told-identify.ts'
import { type Dht, dhtService } from './dht.ts'

export const PUBLIC_KAD_PROTOCOL = '/ipfs/kad/1.0.0'

/** Where everybody begins: the list that Kubo and Helia come with. The names are resolved by `openBootstrap`'s `lookupTxt`. */
export const publicBootstrap: readonly string[] = [
  '/dnsaddr/bootstrap.libp2p.io/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN',
  '/dnsaddr/bootstrap.libp2p.io/p2p/QmbLHAnMoJPWSCR5Zhtx6BHJX9KiKNN6tpvbUcqanj75Nb',
  '/dnsaddr/bootstrap.libp2p.io/p2p/QmcZf59bWwK5XFi76CZX8cbJ4BhTzzA3gU1ZjYZcYW3dwt',
  '/dnsaddr/va1.bootstrap.libp2p.io/p2p/12D3KooWKnDdG3iXw9eTFijk3EWSunZcFi54Zka4wmtqtt6rPxc8',
  '/ip4/104.131.131.82/tcp/4001/p2p/QmaCpDMGvV2BGHeYERUEnRQAwe3N8SzbUtfsmvsqQLuvuJ'
]

/**
 * Services of the public DHT. Identify and ping run a second time under their public names: without them nobody there knows what we speak,
 * and the routing table takes every node for dead.
 */
export type PublicDhtServices = {
  readonly publicIdentify: (components: Parameters<ReturnType<typeof identify>>[0]) => Identify
  readonly publicPing: (components: Parameters<ReturnType<typeof ping>>[0]) => Ping
  readonly publicDht: (components: KadDHTComponents) => Dht
}

/** Factories of the services for `openHost`, beside the private DHT or alone. Resolves when the libraries are loaded. */
export async function publicDhtServices(deps: { readonly gate: ScopeGate }): Promise<PublicDhtServices> {
  const [dht, { identify }, { ping }] = await Promise.all([
    dhtService(deps, { protocol: PUBLIC_KAD_PROTOCOL, clientMode: true, name: 'public-dht' }),
    import('@libp2p/identify'),
    import('@libp2p/ping')
  ])
  const pinging = ping({ protocolPrefix: 'ipfs' })
  let publicPing: Ping | undefined
  return {
    publicIdentify: identifyWithin(identify({ protocolPrefix: 'ipfs' })),
    publicPing: components => {
      publicPing = pinging(components)
      return publicPing
    },
    // Comes after: services are made in the order of their names here.
    publicDht: components => {
      if (!publicPing) throw new Error('the public DHT was made before its ping')
      return dht(Object.create(components, { ping: { value: publicPing } }) as KadDHTComponents)
    }
  }
}
