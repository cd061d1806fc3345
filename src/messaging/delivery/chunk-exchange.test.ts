import assert from 'node:assert/strict'
import test from 'node:test'
import { sha256 } from '#hash'
import { FakeClock } from '../../../test/kits/fake-clock.ts'
import { chunkBody, readChunk } from '../../wire/chunk-payloads.ts'
import type { JsonObject } from '../../wire/strict-json.ts'
import { ChunkExchange } from './chunk-exchange.ts'
import { ChunkReceiver } from './chunk-receiver.ts'
import { ChunkSender } from './chunk-sender.ts'

const ID = '4a0f2c3e-9a37-4c0b-8f37-1b1f0c8d7e6a'

test('a message that is announced again is said to be complete when it is on disk, and never when it does not get there', async () => {
  for (const isKept of [true, false]) {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const said: JsonObject[] = []
    const exchange = new ChunkExchange({
      ...{ from: 'did:key:x', sender: new ChunkSender(), receiver: new ChunkReceiver(new FakeClock(0)), failpoint: () => {} },
      ...{ hasReceived: () => true, durable: () => promise, say: body => said.push(body), onOver: () => {} }
    })
    const sizes = { totalBytes: 100, totalChunks: 1 }
    const init = chunkBody({
      kind: 'init',
      transferId: ID,
      originalMsgType: 'agent_message',
      ...sizes,
      sha256: sha256(new Uint8Array(100))
    })
    assert.equal(exchange.take(init, 0), undefined)
    await new Promise(done => setImmediate(done))
    assert.deepEqual(said, [], 'its first copy may be on its way to the disk')
    if (isKept) resolve()
    else reject(new Error('the disk failed'))
    await new Promise(done => setImmediate(done))
    assert.deepEqual(
      said.map(body => readChunk(body).kind),
      isKept ? ['complete'] : []
    )
  }
})
