/** The local chain: right id and limits, keeps its state over SIGKILL, ends with its owner, says in words why it cannot start. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { join } from 'node:path'
import test from 'node:test'
import { tempFolder } from '../../test/kits/pay.ts'
import { codeOf } from '../base/errors.ts'
import { silentLogger } from '../base/log.ts'
import { openLocalChain } from './local-chain.node.ts'

const deps = { log: silentLogger }
const TO = new Uint8Array(20).fill(0x77)
const ADDRESS = `0x${'77'.repeat(20)}`

/** Waits until a process is gone. */
async function gone(pid: number): Promise<void> {
  for (const end = Date.now() + 10_000; ; ) {
    try {
      process.kill(pid, 0)
    } catch {
      return
    }
    if (Date.now() > end) assert.fail(`process ${pid} is still there`)
    await new Promise(resolve => setImmediate(resolve))
  }
}

test('it has the chain id and gas limit of spec 004 and forgets nothing when it is closed', async () => {
  using folder = tempFolder()
  const options = { port: 0, blockTimeSeconds: 0, statePath: join(folder.path, 'chain', 'state.json') }
  {
    await using chain = await openLocalChain(deps, options)
    assert.equal(Number(await chain.call('eth_chainId')), 98765)
    assert.equal(Number(((await chain.call('eth_getBlockByNumber', ['latest', false])) as { gasLimit: string }).gasLimit), 4_700_000)
    await chain.fund(TO, 5n)
  }
  await using again = await openLocalChain(deps, options)
  assert.equal(BigInt((await again.call('eth_getBalance', [ADDRESS, 'latest'])) as string), 5n)
})

test('when its owner is killed it ends too, and its last saved state is there', async () => {
  using folder = tempFolder()
  const statePath = join(folder.path, 'state.json')
  const script = `
    const { openLocalChain } = await import(${JSON.stringify(join(import.meta.dirname, 'local-chain.node.ts'))})
    const { silentLogger } = await import(${JSON.stringify(join(import.meta.dirname, '..', 'base', 'log.ts'))})
    const chain = await openLocalChain({ log: silentLogger }, { port: 0, blockTimeSeconds: 0, statePath: ${JSON.stringify(statePath)} })
    await chain.fund(new Uint8Array(20).fill(0x77), 9n)
    console.log(chain.pid)
  `
  const owner = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  const pid = Number(await new Promise(resolve => owner.stdout.once('data', b => resolve(String(b)))))
  owner.kill('SIGKILL')
  await gone(pid)
  await using again = await openLocalChain(deps, { port: 0, blockTimeSeconds: 0, statePath })
  assert.equal(BigInt((await again.call('eth_getBalance', [ADDRESS, 'latest'])) as string), 9n)
})

test('a missing program and a port in use are said with a code and a hint', async () => {
  await assert.rejects(openLocalChain(deps, { binary: '/nonexistent/anvil' }), e => codeOf(e) === 'CHAIN_BINARY_MISSING')
  await using busy = createServer()
  await new Promise<void>(resolve => busy.listen(0, '127.0.0.1', resolve))
  const { port } = busy.address() as AddressInfo
  await assert.rejects(openLocalChain(deps, { port }), e => codeOf(e) === 'CHAIN_START_FAILED')
  await assert.rejects(openLocalChain(deps, { binary: '/bin/true' }), e => codeOf(e) === 'CHAIN_START_FAILED')
})
