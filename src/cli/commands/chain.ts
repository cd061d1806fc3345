/** `kith chain`: a private chain on this machine, to try payments with. */
import { Option } from 'commander'
import { createLogger } from '../../base/log.ts'
import { parseCoin } from '../../wire/wei.ts'
import { collect, portNumber } from '../arguments.ts'
import type { Context, Register } from '../context.ts'
import { clean, formatWei } from '../format.ts'

const EXAMPLES = `
Examples:
  kith chain up
  kith chain up --fund 0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045
Its coin is worth nothing outside: everybody knows the keys of its first accounts. It listens on loopback only and keeps its state in this home.`

interface ChainOptions {
  readonly rpcPort?: number
  readonly fund?: readonly string[]
  readonly amount: string
}

export const register: Register = (program, act) => {
  const chain = program.command('chain').description('run a private chain on this machine, to try payments with')
  chain
    .command('up')
    .description('run the local chain (id 98765) until Ctrl-C')
    .addOption(new Option('--rpc-port <number>', 'port of its JSON-RPC; 0: any free port').argParser(portNumber))
    .addOption(new Option('--fund <address>', 'give coin to this wallet (repeatable)').argParser(collect))
    .option('--amount <coin>', 'how much --fund gives', '100')
    .addHelpText('after', EXAMPLES)
    .action(act(up))
}

async function up(context: Context, options: ChainOptions): Promise<number> {
  const config = await context.config()
  const wei = parseCoin(options.amount)
  const log = createLogger(line => process.stderr.write(`${line}\n`), config.logLevel)
  const { startLocalChain } = await import('../../node/local-chain.node.ts')
  // `--port 0` means any free port for whatever the command opens.
  const port = options.rpcPort ?? (context.options.port === 0 ? 0 : undefined)
  await using chain = await startLocalChain(config, { log, ...(port === undefined ? {} : { port }) })
  for (const address of options.fund ?? []) {
    const tx = await chain.fund(address, wei)
    context.output.note(`${formatWei(wei.toString())} to ${clean(address, 60)}: ${tx}`)
  }
  const { rpc, chainId, settlement } = chain
  context.output.result({ ready: true, rpc, chainId, settlement, home: config.folders.home }, () => [
    `Chain ${chainId} at ${rpc}`,
    `  settlement contract ${settlement.address}`,
    'Press Ctrl-C to stop.'
  ])
  const crashed = await Promise.race([context.lifetime.ended().then(() => false), chain.ended.then(() => !context.lifetime.signal.aborted)])
  context.lifetime.stop()
  if (crashed) context.output.note('kith: the local chain ended by itself')
  context.output.result({ stopped: true }, () => ['Stopped.'])
  return crashed ? 1 : 0
}
