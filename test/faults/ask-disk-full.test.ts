/**
 * Messages and a full disk, of who receives them and of who sends them (threats C7): what was acknowledged is on disk, DISK_FULL is said, and
 * everything goes on by itself when there is space again.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { mayMount, openAskDisk } from '../kits/ask-disk.ts'
import { type AskNode, allArrivedOnce, arrived, numbered, received, sendTexts, sent, until } from '../kits/ask-nodes.ts'
import { Lab } from '../kits/lab.ts'

const TEXTS = 100
/** Enough to fill what little space SQLite finds in its own files. */
const PADDING = 'x'.repeat(2000)
const long = (texts: readonly string[]): string[] => texts.map(x => `${x} ${PADDING}`)

test('a full disk of either side: nothing that was acknowledged is lost, it is said, and it goes on', { timeout: 600_000 }, async t => {
  if (!mayMount()) {
    const why = 'needs to mount a tmpfs in a namespace of its own (run as root)'
    assert.notEqual(process.env['KITH_REQUIRE_INTEROP'], '1', why)
    return t.skip(why)
  }
  const lab = new Lab(t)
  const [diskA, diskB] = await Promise.all(['disk-a', 'disk-b'].map(name => openAskDisk(t, lab, name, '24m')))
  const a = await diskA!.up()
  const b = await diskB!.up('--bootstrap', a.address)
  await a.api.ask.send({ to: b.address, text: 'hello' })
  await arrived(b, 'hello', 1)
  await t.test('of the receiver', async () => {
    const texts = long(numbered('to full:', TEXTS))
    await sendTexts(a, b.entityId, texts.slice(0, 20))
    diskB!.fill()
    await sendTexts(a, b.entityId, texts.slice(20))
    await until('it is said', async () => /received messages could not be stored.*DISK_FULL/.test(b.process.err))
    await neverAheadOfDisk(a, b)
    diskB!.free()
    await allArrivedOnce(a, b, texts)
  })
  await t.test('of the sender', async () => {
    const texts = long(numbered('from full:', 60))
    await sendTexts(a, b.entityId, texts.slice(0, 20))
    // Acknowledgements come while there is no room to write them down.
    b.process.kill('SIGSTOP')
    await sendTexts(a, b.entityId, texts.slice(20, 60))
    diskA!.fill()
    const accepted: string[] = []
    let refused: unknown
    // What was freed inside the database is used up first.
    for (const text of long(numbered('from full: more', 3000))) {
      try {
        await a.api.ask.send({ to: b.entityId, text })
        accepted.push(text)
      } catch (error) {
        refused = error
        break
      }
    }
    assert.equal((refused as { code?: string } | undefined)?.code, 'DISK_FULL')
    b.process.kill('SIGCONT')
    const all = [...texts.slice(0, 60), ...accepted]
    const last = `${all.length} of them arrive`
    await until(last, async () => isThere(await received(b), all))
    diskA!.free()
    await sendTexts(a, b.entityId, ['after'])
    await allArrivedOnce(a, b, all)
  })
})

const isThere = (some: readonly string[], all: readonly string[]): boolean => all.every(x => some.includes(x))

/** What the sender believes to be delivered the receiver has on its disk. */
async function neverAheadOfDisk(from: AskNode, to: AskNode): Promise<void> {
  const delivered = (await sent(from)).filter(m => m.state === 'delivered').length
  const there = (await received(to)).length
  assert.ok(delivered <= there, `${delivered} are delivered, ${there} are there`)
}
