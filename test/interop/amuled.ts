/**
 * Debian's amuled 2.3.3 as another program: started in a folder of its own, in a network namespace if wanted, driven by amulecmd. It counts
 * time in milliseconds since 1970 modulo 2^32: for half an hour before that begins anew, every 49.7 days (next on 2027-01-10 at 14:28 UTC),
 * it takes no sources, and these tests fail.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { eventually } from '../kits/transfer-doubles.ts'

const run = promisify(execFile)
const PASSWORD = 'kith'
const SHIM = join(import.meta.dirname, 'ed2k-onethread-shim.c')

export interface AmuledOptions {
  readonly folder: string
  /** Network namespace; undefined: this one. */
  readonly namespace?: string
  readonly address: string
  readonly ports: { readonly tcp: number; readonly udp: number; readonly ec: number }
  /** Lines of its configuration that differ. */
  readonly settings?: Readonly<Record<string, string>>
}

/** Builds the shim without which amuled stops reading from sockets now and then (see its head). */
export async function buildShim(folder: string): Promise<string> {
  const path = join(folder, 'shim.so')
  await run('gcc', ['-O2', '-shared', '-fPIC', '-o', path, SHIM, '-ldl', '-lpthread'])
  return path
}

export class Amuled implements AsyncDisposable {
  readonly options: AmuledOptions
  readonly incoming: string
  readonly #child: ChildProcess
  readonly #exited: Promise<unknown>

  private constructor(options: AmuledOptions, child: ChildProcess) {
    this.options = options
    this.incoming = join(options.folder, 'Incoming')
    this.#child = child
    this.#exited = once(child, 'exit')
  }

  /** Resolves when it answers. */
  static async start(options: AmuledOptions, shim: string): Promise<Amuled> {
    const { folder, namespace } = options
    await mkdir(join(folder, 'Temp'), { recursive: true })
    await mkdir(join(folder, 'Incoming'), { recursive: true })
    await writeFile(join(folder, 'amule.conf'), configuration(options))
    const [command, ...args] = inNamespace(namespace, ['amuled', '-c', folder, '-o'])
    const child = spawn(command!, args, { stdio: 'ignore', env: { ...process.env, HOME: folder, LD_PRELOAD: shim } })
    const amuled = new Amuled(options, child)
    try {
      const isUp = async (): Promise<boolean> => child.exitCode !== null || /eD2k:/.test(await amuled.command('status'))
      await eventually('amuled answers', isUp, 30_000)
      if (child.exitCode !== null) throw new Error(`amuled ended with ${child.exitCode}`)
      return amuled
    } catch (error) {
      await amuled[Symbol.asyncDispose]()
      throw error
    }
  }

  /** What amulecmd says; '' when it could not connect. */
  async command(text: string): Promise<string> {
    const { namespace, ports } = this.options
    const [command, ...args] = inNamespace(namespace, ['amulecmd', '-h', '127.0.0.1', '-p', String(ports.ec), '-P', PASSWORD, '-c', text])
    return (await run(command!, args).catch(() => ({ stdout: '' }))).stdout
  }

  /** 16 bytes as they are on the wire. */
  async userHash(): Promise<Uint8Array> {
    const hash = new Uint8Array((await readFile(join(this.options.folder, 'preferences.dat'))).subarray(1, 17))
    hash[5] = 0x0e
    hash[14] = 0x6f
    return hash
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGTERM')
    const kill = setTimeout(() => this.#child.kill('SIGKILL'), 5_000)
    await this.#exited
    clearTimeout(kill)
  }
}

export const inNamespace = (namespace: string | undefined, command: readonly string[]): readonly string[] =>
  namespace === undefined ? command : ['ip', 'netns', 'exec', namespace, ...command]

export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, '127.0.0.1')
      await once(server, 'listening')
      return server
    })
  )
  const ports = servers.map(s => (s.address() as { port: number }).port)
  for (const s of servers) s.close()
  await Promise.all(servers.map(s => once(s, 'close')))
  return ports
}

/** MaxUpload is not left at 0: amuled then begins with a few kB/s. */
function configuration({ folder, address, ports, settings }: AmuledOptions): string {
  const sections: Record<string, Record<string, string | number>> = {
    eMule: {
      AppVersion: '2.3.3',
      Nick: 'amuled',
      Port: ports.tcp,
      UDPPort: ports.udp,
      UDPEnable: 1,
      Address: address,
      Autoconnect: 0,
      Reconnect: 0,
      ConnectToKad: 0,
      ConnectToED2K: 0,
      Serverlist: 0,
      AddServerListFromServer: 0,
      AddServerListFromClient: 0,
      SmartIdCheck: 0,
      SafeServerConnect: 0,
      MaxUpload: 60_000,
      MaxDownload: 0,
      SlotAllocation: 100,
      MaxConnections: 500,
      MaxConnectionsPerFiveSeconds: 200,
      TempDir: join(folder, 'Temp'),
      IncomingDir: join(folder, 'Incoming'),
      OSDirectory: `${folder}/`,
      CheckDiskspace: 0,
      ICH: 1,
      AICHTrust: 1,
      FilterLanIPs: 0,
      ParanoidFiltering: 0,
      IPFilterAutoLoad: 0,
      IPFilterSystem: 0,
      NewVersionCheck: 0,
      GeoIPEnabled: 0,
      UPnPEnabled: 0,
      KadNodesUrl: '',
      Ed2kServersUrl: ''
    },
    ExternalConnect: {
      AcceptExternalConnections: 1,
      ECAddress: '127.0.0.1',
      ECPort: ports.ec,
      ECPassword: createHash('md5').update(PASSWORD).digest('hex'),
      UPnPECEnabled: 0,
      UseSecIdent: 1,
      IpFilterClients: 0,
      IpFilterServers: 0
    },
    Obfuscation: { IsClientCryptLayerSupported: 1, IsCryptLayerRequested: 0, IsClientCryptLayerRequired: 0 },
    WebServer: { Enabled: 0 }
  }
  return Object.entries(sections)
    .map(([name, lines]) => {
      const all = Object.entries(lines).map(([key, value]) => `${key}=${settings?.[key] ?? value}`)
      return `[${name}]\n${all.join('\n')}\n`
    })
    .join('')
}
