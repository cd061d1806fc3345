import assert from 'node:assert/strict'
import test from 'node:test'
import type { PeerId } from '@libp2p/interface'
import { type GuardedTable, guardTable } from './table-guard.ts'

/** The library's table as far as the guard sees it: adds and removes are announced. */
class Table extends EventTarget {
  readonly peers = new Set<string>()
  add(id: string): void {
    this.peers.add(id)
    this.#announce('peer:add', id)
  }
  async remove(peer: PeerId): Promise<void> {
    if (this.peers.delete(peer.toString())) this.#announce('peer:remove', peer.toString())
  }
  #announce(name: string, id: string): void {
    this.dispatchEvent(new CustomEvent(name, { detail: { toString: () => id } }))
  }
}

function guarded(): Table {
  const table = new Table()
  // A peer's name is its address here, with a number behind "#".
  guardTable(table as unknown as GuardedTable, peer => peer.toString().split('#')[0])
  return table
}

test('DH7: one node for each public address and ten for each /24', () => {
  const table = guarded()
  for (let i = 0; i < 3; i++) table.add(`11.0.0.1#${i}`)
  assert.equal(table.peers.size, 1)
  for (let i = 0; i < 256; i++) table.add(`11.0.0.${i}#x`)
  assert.equal(table.peers.size, 10)
  table.add('11.0.1.1#x')
  assert.equal(table.peers.size, 11)
})

test('a place that became free is given again', async () => {
  const table = guarded()
  for (let i = 0; i < 12; i++) table.add(`11.0.0.${i}#x`)
  assert.equal(table.peers.size, 10)
  await table.remove({ toString: () => '11.0.0.0#x' } as PeerId)
  table.add('11.0.0.99#x')
  assert.ok(table.peers.has('11.0.0.99#x'))
  table.add('11.0.0.0#again')
  assert.equal(table.peers.size, 10)
})

test('in a private network and on one machine any number may come', () => {
  const table = guarded()
  for (let i = 0; i < 40; i++) {
    table.add(`127.0.0.1#${i}`)
    table.add(`10.0.0.1#${i}`)
  }
  assert.equal(table.peers.size, 80)
})
