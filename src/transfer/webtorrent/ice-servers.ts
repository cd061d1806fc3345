/** STUN and TURN servers as a person writes them (RFC 7064, RFC 7065), read strictly. */
import { KithError } from '../../base/errors.ts'
import { MAX_ICE_SERVERS } from './limits.ts'

export interface IceServer {
  /** "stun:stun.example.org", "stun:192.0.2.1:3478", "turn:turn.example.org:3478". */
  readonly url: string
  /** For TURN. */
  readonly username?: string | undefined
  readonly credential?: string | undefined
}

/** The same as the native library takes it. */
export interface IceServerConfig {
  readonly hostname: string
  readonly port: number
  readonly username?: string
  readonly password?: string
  readonly relayType?: 'TurnUdp'
}

const DEFAULT_PORT = 3478
const HOST = /^(?:\[([0-9a-fA-F:.]{2,45})\]|([A-Za-z0-9._-]{1,253}))(?::([0-9]{1,5}))?(?:\?transport=(udp|tcp))?$/

/** @throws BAD_ICE_SERVER; TURN over TCP or TLS is refused too: the native library has it over UDP only */
export function readIceServers(servers: readonly IceServer[]): IceServerConfig[] {
  if (servers.length > MAX_ICE_SERVERS) throw bad(`more than ${MAX_ICE_SERVERS} servers`)
  return servers.map(readIceServer)
}

function readIceServer({ url, username, credential }: IceServer): IceServerConfig {
  const [, scheme = '', rest = ''] = /^(stun|turn|turns|stuns):(.*)$/.exec(url) ?? []
  const [, v6, name, portText, transport = 'udp'] = HOST.exec(rest) ?? []
  const hostname = v6 ?? name
  const port = Number(portText ?? DEFAULT_PORT)
  if (scheme === '' || hostname === undefined || port === 0 || port > 65_535) throw bad('it is not stun:host:port or turn:host:port')
  if (scheme.endsWith('s') || transport !== 'udp') throw bad('only UDP is supported')
  if (scheme === 'stun') return { hostname, port }
  if (!username || !credential) throw bad('a TURN server needs a user name and a credential')
  return { hostname, port, username, password: credential, relayType: 'TurnUdp' }
}

const bad = (why: string): KithError =>
  new KithError('BAD_ICE_SERVER', `this server for WebRTC cannot be used: ${why}`, {}, { hint: 'for example stun:192.0.2.1:3478' })
