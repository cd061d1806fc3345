/** The tree of commands. Only the modules of commands that the command line names are loaded; help and completion load all. */
import { Command, Option } from 'commander'
import { logLevels } from '../base/log.ts'
import { version } from '../node/version.ts'
import { collect, hostPorts, ipAddresses, portNumber, rpcUrls } from './arguments.ts'
import type { Act, Register } from './context.ts'
import { EXAMPLES as EXAMPLES_OF } from './examples.ts'

/** In the order of the help. */
const COMMANDS: Readonly<Record<string, () => Promise<{ readonly register: Register }>>> = {
  share: () => import('./commands/share.ts'),
  get: () => import('./commands/get.ts'),
  info: () => import('./commands/info.ts'),
  up: () => import('./commands/up.ts'),
  msg: () => import('./commands/msg.ts'),
  group: () => import('./commands/group.ts'),
  agent: () => import('./commands/agent.ts'),
  peer: () => import('./commands/peer.ts'),
  verify: () => import('./commands/verify.ts'),
  status: () => import('./commands/status.ts'),
  unshare: () => import('./commands/unshare.ts'),
  stop: () => import('./commands/stop.ts'),
  wallet: () => import('./commands/wallet.ts'),
  settle: () => import('./commands/settle.ts'),
  id: () => import('./commands/id.ts'),
  chain: () => import('./commands/chain.ts'),
  demo: () => import('./commands/demo.ts'),
  completion: () => import('./commands/completion.ts')
}

const EXAMPLES = `
Examples:
  kith share ./film.mkv                 share a file and seed it until Ctrl-C
  kith get 'kith:…'                     fetch it from everybody who has it
  kith up                               keep a node running; share, get and status then use it
  kith msg send laptop "hello"          a text to a peer, encrypted; it waits until the peer is there
  kith agent ask server1 "…"            give a task to a program on another machine
  kith demo                             see it all at work on this machine

Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 payment, 5 integrity, 6 disk or store, 7 network, 69 unavailable, 130 Ctrl-C.`

/** @param args the command line, to see which commands it may mean; empty: all */
export async function buildProgram(act: Act, args: readonly string[]): Promise<Command> {
  const program = new Command('kith')
  program
    .description('Share and fetch files directly: from every source at once, each chunk verified, paid only if you want.')
    .version(version, '-V, --version', 'print the version')
    .exitOverride()
    // Messages are printed by run.ts, in the form of all others.
    .configureOutput({ outputError: () => {} })
    .helpCommand(false)
    .showSuggestionAfterError()
    .addHelpText('after', EXAMPLES)
  addGlobalOptions(program)
  const named = Object.keys(COMMANDS).filter(name => args.includes(name))
  // The completion script is about all of them.
  const wanted = named.length === 0 || named.includes('completion') ? Object.keys(COMMANDS) : named
  const modules = await Promise.all(wanted.map(name => COMMANDS[name]!()))
  for (const { register } of modules) register(program, act)
  for (const command of program.commands) addHelp(command, command.name())
  if (args.length === 0) program.action(() => program.outputHelp())
  return program
}

/** What stands below the options of a command and of those in it: examples, and where the options are that all have. */
function addHelp(command: Command, path: string): void {
  const examples = EXAMPLES_OF[path]
  if (examples) command.addHelpText('after', ['', 'Examples:', ...examples.map(e => `  ${e}`)].join('\n'))
  command.addHelpText('after', '\nOptions that every command has (--home, --json, --port, --bootstrap …): kith --help')
  for (const inner of command.commands) addHelp(inner, `${path} ${inner.name()}`)
}

function addGlobalOptions(program: Command): void {
  program
    .option('--home <folder>', 'keep everything of this node in one folder (also: KITH_HOME)')
    .option('--json', 'one JSON value per line on stdout; the last line is the result')
    .option('--no-json', 'text for people even when stdout is not a terminal')
    .option('--port <number>', 'TCP port for peers; the ports after it are used too; 0: any free ports', portNumber)
    .option('--api-port <number>', 'port of the local API; 0: any free port', portNumber)
    .option('--listen <ip>', 'address to listen on for peers (repeatable)', ipAddresses)
    .option('--bootstrap <multiaddr>', 'a node that introduces this one to its network (repeatable)', collect)
    .option('--no-lan', 'do not look for nodes on the local network')
    .option('--public', 'join the public networks as well: IPFS, BitTorrent and Kad')
    .option('--relay <multiaddr>', 'a relay at which this node can be reached (repeatable)', collect)
    .option('--dht-bootstrap <host:port>', 'a node that introduces this one to a BitTorrent DHT (repeatable)', hostPorts)
    .option('--proxy <url>', 'HTTP proxy for fetching over HTTP and HTTPS')
    .option('--wallet-passphrase-file <file>', 'file of mode 0600 with the passphrase of the wallet, if it has one')
    .option('--chain-rpc <url>', 'JSON-RPC of the chain (repeatable)', rpcUrls)
    .addOption(new Option('--log-level <level>', 'what to log on stderr').choices(Object.keys(logLevels)))
}
