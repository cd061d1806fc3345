/** Deposits envelopes into a mailbox database until it is killed, and prints the number of each one after it was acknowledged. */
import { openMailboxStore } from '../../src/messaging/mailbox-store.node.ts'

const [path, owner] = process.argv.slice(2) as [string, string]
const store = openMailboxStore(path)
for (let i = 0; ; i++) {
  await store.add(owner, new TextEncoder().encode(`envelope ${i}`), 4e12)
  process.stdout.write(`${i}\n`)
}
