/**
 * A private chain on this machine: anvil (its program comes with an npm package) with Kith's chain id and the settlement contract.
 * For the demo, tests and private use: its accounts are funded from a phrase that everybody knows, so it listens on loopback only.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter, dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { type Clock, systemClock } from '../base/clock.ts'
import { KithError } from '../base/errors.ts'
import { type Logger, silentLogger } from '../base/log.ts'
import { makePrivateFolder } from '../platform/files.node.ts'
import { readAddress, readArray, readHash, toHex, toQuantity } from './chain/quantity.ts'
import { JsonRpc } from './chain/rpc.node.ts'
import { ChainSession, type RpcCall } from './chain/session.ts'
import { checkCode } from './chain/settlement.ts'
import { CREATE2_PROXY, CREATE2_SALT, SETTLEMENT_BYTECODE } from './chain/settlement-artefact.ts'
import { LOCAL_CHAIN_ID, localSettlement } from './networks.ts'

export interface LocalChainOptions {
  /** State file; without one the chain is forgotten when it ends. */
  readonly statePath?: string
  /** 0: any free port. */
  readonly port?: number
  /** Seconds between blocks without transactions; 0: there are none. A transaction gets a block at once. */
  readonly blockTimeSeconds?: number
  /** The anvil program; by default the one in node_modules, then the one on PATH. */
  readonly binary?: string
}
export const localChainDefaults: Required<Pick<LocalChainOptions, 'port' | 'blockTimeSeconds'>> = { port: 8545, blockTimeSeconds: 1 }

const START_MS = 20_000
const STOP_MS = 5_000
const GAS_LIMIT = 4_700_000
const GAS_PRICE = 1_000_000_000

/** A running chain; disposing it saves the state and resolves when the process has ended. */
export class LocalChain implements AsyncDisposable {
  readonly url: string
  readonly port: number
  readonly chainId: number = LOCAL_CHAIN_ID
  readonly pid: number
  readonly #child: ChildProcess
  readonly #ended: Promise<void>
  readonly #clock: Clock

  constructor(child: ChildProcess, ended: Promise<void>, port: number, clock: Clock) {
    this.#child = child
    this.#ended = ended
    this.#clock = clock
    this.port = port
    this.pid = child.pid ?? 0
    this.url = `http://127.0.0.1:${port}`
  }

  /** Any method of the chain, for tests and tools. @throws RPC_ERROR, RPC_REFUSED */
  async call(method: string, params: readonly unknown[] = []): Promise<unknown> {
    const call = await openCall(this.url)
    return await call(method, params, v => v)
  }

  /** Sends coin from the first development account and waits until it is mined. @returns the transaction's hash */
  async fund(to: Uint8Array, wei: bigint): Promise<string> {
    return await sendFromDev(await openCall(this.url), this.#clock, { to: toHex(to), value: toQuantity(wei) })
  }

  /** Resolves when the process has ended, for whatever reason. */
  get ended(): Promise<void> {
    return this.#ended
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin?.end()
    const timer = setTimeout(() => killGroup(this.#child), STOP_MS)
    await this.#ended
    clearTimeout(timer)
  }
}

/**
 * Starts anvil and deploys the settlement contract unless the state file already holds it.
 * @throws CHAIN_BINARY_MISSING, CHAIN_START_FAILED (port taken, damaged state file)
 */
export async function openLocalChain(
  deps: { readonly log: Logger; readonly clock?: Clock },
  options: LocalChainOptions = {}
): Promise<LocalChain> {
  const { port, blockTimeSeconds } = { ...localChainDefaults, ...options }
  const clock = deps.clock ?? systemClock
  const args = ['--chain-id', LOCAL_CHAIN_ID, '--gas-limit', GAS_LIMIT, '--gas-price', GAS_PRICE, '--hardfork', 'london', '--no-cors']
  args.push('--host', '127.0.0.1', '--port', port)
  // A block for each transaction at once, so that nobody waits for the next; and empty ones meanwhile, for those who count confirmations.
  if (blockTimeSeconds > 0) args.push('--block-time', blockTimeSeconds, '--mixed-mining')
  if (options.statePath) {
    makePrivateFolder(dirname(options.statePath))
    args.push('--state', options.statePath, '--state-interval', 1) // without the interval a killed chain forgets everything
  }
  const child = spawnTied(findAnvil(options.binary), args.map(String))
  const { promise: ended, resolve } = Promise.withResolvers<void>()
  child.on('close', () => resolve())
  await using stack = new AsyncDisposableStack()
  const chain = stack.use(new LocalChain(child, ended, await listeningPort(child), clock))
  await deploy(await openCall(chain.url), clock)
  deps.log.debug('local chain runs', { port: chain.port })
  stack.move()
  return chain
}

/** @throws CHAIN_BINARY_MISSING */
function findAnvil(given: string | undefined): string {
  const name = process.platform === 'win32' ? 'anvil.exe' : 'anvil'
  const candidates = given === undefined ? (process.env['PATH'] ?? '').split(delimiter).map(d => join(d, name)) : [given]
  if (given === undefined) {
    const arch = process.arch === 'x64' ? 'amd64' : process.arch
    try {
      const found = createRequire(import.meta.url).resolve(`@foundry-rs/anvil-${process.platform}-${arch}/package.json`)
      candidates.unshift(join(dirname(found), 'bin', name))
    } catch {
      // the package is optional: look on PATH
    }
  }
  for (const path of candidates) {
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch {
      // try the next
    }
  }
  throw new KithError('CHAIN_BINARY_MISSING', 'the program of the local chain (anvil) is not installed', {}, { hint: INSTALL })
}
const INSTALL = 'npm install @foundry-rs/anvil, or put anvil on PATH; Kith works without a chain as long as nothing is paid'

/**
 * Spawns anvil so that it ends when we do, even by SIGKILL: a shell holds its life to our end of a pipe. In a group of its own, so
 * that Ctrl-C reaches us and not it: we save the state first.
 */
function spawnTied(binary: string, args: readonly string[]): ChildProcess {
  if (process.platform === 'win32') return spawn(binary, args, { stdio: ['pipe', 'pipe', 'pipe'] })
  const script = '"$@" & p=$!; exec >/dev/null 2>&1; cat; kill -TERM $p; wait $p'
  return spawn('/bin/sh', ['-c', script, 'anvil', binary, ...args], { stdio: ['pipe', 'pipe', 'pipe'], detached: true })
}

function killGroup(child: ChildProcess): void {
  try {
    if (child.pid !== undefined) process.kill(process.platform === 'win32' ? child.pid : -child.pid, 'SIGKILL')
  } catch {
    // it has ended
  }
}

/** Waits for anvil's "Listening on". @throws CHAIN_START_FAILED with its own last words */
function listeningPort(child: ChildProcess): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  let said = ''
  const fail = (): void => {
    child.stdin?.end()
    killGroup(child)
    reject(
      new KithError('CHAIN_START_FAILED', `the local chain did not start: ${said.slice(-300).trim()}`, {}, { hint: 'is the port in use?' })
    )
  }
  const timer = setTimeout(fail, START_MS)
  child.on('error', fail)
  child.stdin?.on('error', () => {}) // the shell ended first
  child.stderr?.on('data', (b: Buffer) => {
    said = (said + b.toString()).slice(-1000)
  })
  // anvil prints a line per call: read and forget, or its pipe fills and it stops
  createInterface({ input: child.stdout! })
    .on('line', line => {
      const m = /^Listening on .*:(\d+)$/.exec(line)
      if (m) resolve(Number(m[1]))
    })
    .on('close', fail) // only anvil holds the other end
  return promise.finally(() => clearTimeout(timer))
}

const openCall = (url: string): Promise<RpcCall> =>
  new JsonRpc({ log: silentLogger }, { urls: [url], chainId: LOCAL_CHAIN_ID }).open(new AbortController().signal)

/** The contract has one address on every chain (CREATE2), so nobody has to be told where it is. */
async function deploy(call: RpcCall, clock: Clock): Promise<void> {
  const session = new ChainSession(LOCAL_CHAIN_ID, call)
  const contract = localSettlement()
  if ((await session.code(contract.address)).length === 0) {
    await sendFromDev(call, clock, { to: CREATE2_PROXY, data: CREATE2_SALT + SETTLEMENT_BYTECODE.slice(2) })
  }
  await checkCode(session, contract)
}

async function sendFromDev(call: RpcCall, clock: Clock, tx: Record<string, string>): Promise<string> {
  const dev = await call('eth_accounts', [], v => readAddress(readArray(v, 100, 'accounts')[0], 'account'))
  const hash = await call('eth_sendTransaction', [{ from: toHex(dev), ...tx }], v => readHash(v, 'transaction hash'))
  const session = new ChainSession(LOCAL_CHAIN_ID, call)
  for (let tries = 0; tries < 200; tries++) {
    const receipt = await session.receipt(hash)
    if (receipt?.ok) return hash
    if (receipt) break
    await clock.sleep(50)
  }
  throw new KithError('PAYMENT_FAILED', 'the local chain did not carry out a transaction', { hash })
}
