/**
 * A Kith seeder and a server of twenty lines beside it, in the network namespace it is started in:
 * `node ed2k-seeder.ts ADDRESS BYTES plain|obfuscated|wrong IDENTITY-FILE`. Says {"link"} when ready; ends when its input does, and says then how many
 * bytes left.
 */
import { createServer, type Socket } from 'node:net'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { ipToNumber, LeReader, LeWriter } from '../../src/transfer/ed2k/bytes.ts'
import { openEd2k } from '../../src/transfer/ed2k/ed2k.node.ts'
import { loadEd2kIdentity } from '../../src/transfer/ed2k/identity.node.ts'
import { formatEd2kLink } from '../../src/transfer/ed2k/link.ts'
import { encodePacket, PacketSplitter } from '../../src/transfer/ed2k/packet.ts'
import { writeTags } from '../../src/transfer/ed2k/tags.ts'
import { MemoryShare, seededBytes, shareIndex, TestGate } from '../kits/transfer-doubles.ts'
import { ed2kOf } from './ed2k-digest.ts'

const [address = '', size = '', mode = '', identityPath = ''] = process.argv.slice(2)
const isObfuscated = mode === 'obfuscated'
const content = seededBytes(Number(size))
const ed2k = ed2kOf(content)
/** Wrong in its second block, the first time. */
class OnceWrong extends MemoryShare {
  override async read(offset: number, length: number, target: Uint8Array): Promise<void> {
    await super.read(offset, length, target)
    if (offset > WRONG_AT || WRONG_AT >= offset + length || this.#isToldRight) return
    this.#isToldRight = true
    target[WRONG_AT - offset]! ^= 1
  }
  #isToldRight = false
}
const WRONG_AT = 200_000
const share = new (mode === 'wrong' ? OnceWrong : MemoryShare)(content, { name: 'kith seeds.bin', ed2k })
/** Notes when the first and the last bytes left. */
class TimedGate extends TestGate {
  firstMs = 0
  lastMs = 0
  override sent(protocol: string, bytes: number): void {
    super.sent(protocol, bytes)
    this.lastMs = performance.now()
    this.firstMs ||= this.lastMs
  }
}
const gate = new TimedGate()
const deps = { clock: systemClock, log: silentLogger, shares: shareIndex([share]), gate }
const host = await openEd2k(deps, {
  listen: { host: address, port: 4662 },
  identity: loadEd2kIdentity(identityPath),
  obfuscation: isObfuscated ? 'require' : 'accept'
})

/** Knows one file and one source: us. */
function serve(socket: Socket): void {
  const packets = new PacketSplitter()
  const send = (opcode: number, w: LeWriter): unknown => socket.write(encodePacket(0xe3, opcode, w.done()))
  socket.on('error', () => {})
  socket.on('data', bytes => {
    for (const { opcode, payload } of packets.push(bytes)) {
      if (opcode === 0x01) {
        send(0x38, new LeWriter().text16('a small server'))
        send(0x40, new LeWriter().u32(ipToNumber(socket.remoteAddress ?? '0.0.0.0')).u32(isObfuscated ? 0x519 : 0x119))
        const ident = new LeWriter().bytes(new Uint8Array(16)).u32(ipToNumber(address)).u16(4661)
        writeTags(ident, [{ name: 1, type: 'text', value: 'small' }])
        send(0x41, ident)
      } else if (opcode === 0x19 || opcode === 0x23) {
        const hash = new LeReader(payload).hash()
        const answer = new LeWriter().bytes(hash).u8(1).u32(ipToNumber(address)).u16(4662)
        if (opcode === 0x23) answer.u8(0x80 | (isObfuscated ? 7 : 1)).bytes(host.userHash)
        send(opcode === 0x23 ? 0x44 : 0x42, answer)
      }
    }
  })
}
const server = createServer(serve)
await new Promise<void>(resolve => server.listen(4661, address, resolve))
console.log(JSON.stringify({ link: formatEd2kLink({ name: share.name, size: content.length, hash: ed2k.hash, aich: ed2k.aich }) }))
process.stdin.resume()
process.stdin.on('end', () => {
  console.log(JSON.stringify({ sent: gate.sentBytes, ms: gate.lastMs - gate.firstMs }))
  process.exit(0)
})
