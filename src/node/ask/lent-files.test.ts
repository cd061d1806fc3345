/** What a node shares for messages and tasks is taken back, over restarts; what the user shares is not. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import test from 'node:test'
import { FakeClock } from '../../../test/kits/fake-clock.ts'
import { tempFolder } from '../../../test/kits/messaging.ts'
import { eventually } from '../../../test/kits/transfer-doubles.ts'
import type { TaskFile } from '../../agents/types.ts'
import { bytesToHex } from '../../base/bytes.ts'
import { silentLogger } from '../../base/log.ts'
import { formatLink } from '../../wire/link.ts'
import { LENT_LOOK_MS, LENT_UNCLAIMED_MS } from '../limits.ts'
import type { ShareView } from '../types.ts'
import { LentFiles } from './lent-files.node.ts'

class Rig implements AsyncDisposable {
  readonly clock = new FakeClock()
  readonly shared = new Map<string, boolean>()
  readonly #path: string
  lent: LentFiles
  #n = 0

  constructor(folder: string) {
    this.#path = join(folder, 'lent.db')
    this.lent = this.#open()
  }
  #open(): LentFiles {
    const node = {
      shares: () => [...this.shared].map(([fileId, lent]) => ({ fileId, lent }) as ShareView),
      unshare: async (id: string) => {
        this.shared.delete(id)
        return {} as ShareView
      }
    }
    const files = { putFile: async () => this.share(true), getFile: () => Promise.reject(new Error('unused')) }
    return new LentFiles({ clock: this.clock, log: silentLogger, node: () => node, files }, this.#path)
  }
  share(lent: boolean): TaskFile {
    const fileId = new Uint8Array(32).fill(++this.#n)
    this.shared.set(bytesToHex(fileId), lent)
    return { link: formatLink({ fileId, root: undefined, size: undefined, name: 'x', via: [] }), name: 'x', size: 1 }
  }
  async restart(endOf: (owner: string) => number | undefined = () => undefined): Promise<void> {
    await this.lent[Symbol.asyncDispose]()
    this.lent = this.#open()
    this.lent.start(endOf)
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.lent[Symbol.asyncDispose]()
  }
}
const content = { path: '/x' }

test('a file goes when the last owner is over and its time has passed, also when the node was restarted meanwhile', async () => {
  using folder = tempFolder()
  await using rig = new Rig(folder.path)
  const own = rig.share(false)
  rig.lent.start(() => undefined)
  const file = await rig.lent.putFile(content)
  rig.lent.belongs(file, 'message:1')
  rig.lent.belongs(file, 'given:2')
  assert.equal(rig.lent.isOpen('message:1'), true)
  rig.lent.ended('message:1', 0)
  await rig.clock.advance(LENT_LOOK_MS)
  assert.equal(rig.shared.size, 2, 'the task still has it')
  // The task has ended while the node was down.
  await rig.restart(owner => (owner === 'given:2' ? 3 * LENT_LOOK_MS : undefined))
  await rig.clock.advance(LENT_LOOK_MS)
  assert.equal(rig.shared.size, 2, 'its time has not passed')
  await rig.restart()
  await eventually('taken back', async () => {
    await rig.clock.advance(LENT_LOOK_MS)
    return rig.shared.size === 1
  })
  assert.deepEqual([...rig.shared.values()], [false])
  rig.lent.belongs(own, 'message:3')
  rig.lent.ended('message:3', 0)
  await rig.clock.advance(LENT_LOOK_MS)
  assert.equal(rig.shared.size, 1, 'what the user shares is never taken back')
})

test('a message that has failed takes its file back at once, and a shorter time counts', async () => {
  using folder = tempFolder()
  await using rig = new Rig(folder.path)
  rig.lent.start(() => undefined)
  rig.lent.belongs(await rig.lent.putFile(content), 'message:1')
  rig.lent.ended('message:1', 10 * LENT_LOOK_MS)
  rig.lent.ended('message:1', 0)
  await eventually('taken back', () => rig.shared.size === 0)
})

test('what belongs to nothing goes: at once after a crash, after a while otherwise', async () => {
  using folder = tempFolder()
  await using rig = new Rig(folder.path)
  await rig.lent.putFile(content)
  await rig.restart()
  await eventually('taken back', () => rig.shared.size === 0)
  await rig.lent.putFile(content)
  await rig.clock.advance(LENT_UNCLAIMED_MS - LENT_LOOK_MS)
  assert.equal(rig.shared.size, 1)
  await eventually('taken back, too', async () => {
    await rig.clock.advance(LENT_LOOK_MS)
    return rig.shared.size === 0
  })
})

test('a file that is sent again while it would be taken back stays', async () => {
  using folder = tempFolder()
  await using rig = new Rig(folder.path)
  rig.lent.start(() => undefined)
  const file = await rig.lent.putFile(content)
  rig.lent.belongs(file, 'message:1')
  rig.lent.ended('message:1', 0)
  rig.lent.belongs(file, 'message:2')
  await rig.clock.advance(2 * LENT_LOOK_MS)
  assert.equal(rig.shared.size, 1)
  rig.lent.ended('message:2', 0)
  await eventually('taken back', () => rig.shared.size === 0)
})
