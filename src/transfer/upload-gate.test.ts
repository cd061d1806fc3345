/** What is let through: free files to anybody, paid ones to tickets that have credit. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { FakeClock } from '../../test/kits/fake-clock.ts'
import { MemoryShare } from '../../test/kits/transfer-doubles.ts'
import type { Customer } from './protocol.ts'
import { TicketBook } from './tickets.ts'
import { createUploadGate } from './upload-gate.ts'

const never = new AbortController().signal

test('T4: a paid file goes to a ticket alone, and only while it has credit', async () => {
  const clock = new FakeClock()
  const charged: number[] = []
  const admitted: number[] = []
  const gate = createUploadGate(
    {
      ...{ clock, tickets: new TicketBook(clock), termsOf: () => ({ uploadLimit: undefined, creditBytes: 7 }), onSent: () => {} },
      payments: {
        charge: (_customer, _file, _price, _chunk, bytes, options) => {
          charged.push(bytes)
          return bytes > (options?.creditBytes ?? 0) ? 'no credit is left' : undefined
        }
      },
      onAdmitted: (_share, bytes) => void admitted.push(bytes)
    },
    { uploadLimit: undefined }
  )
  const paid = new MemoryShare(new Uint8Array(10), { pricePerMb: 1n })
  const free = new MemoryShare(new Uint8Array(10))
  const who = { peerId: 'p', instance: 'i', wallet: new Uint8Array(20), address: '192.0.2.1' } as Customer
  assert.match((await gate.admit(paid, undefined, 0, 5, never)) ?? '', /costs money/)
  assert.deepEqual([charged, admitted], [[], []])
  assert.equal(await gate.admit(paid, who, 0, 8, never), 'no credit is left')
  assert.deepEqual(admitted, [])
  assert.equal(await gate.admit(paid, who, 0, 7, never), undefined)
  assert.equal(await gate.admit(free, undefined, 0, 5, never), undefined)
  assert.deepEqual(
    [charged, admitted],
    [
      [8, 7],
      [7, 5]
    ]
  )
})
