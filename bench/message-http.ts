/**
 * Signed messages over HTTP: our server, which also decrypts and keeps them on disk, beside FastAPI with the same signatures, in memory.
 * The messages are made before; what is measured is from the first request to the last answer.
 */
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { randomBytes } from '#crypto'
import { bytesToHex, utf8 } from '../src/base/bytes.ts'
import { systemClock } from '../src/base/clock.ts'
import { newUuid } from '../src/messaging/uuid.ts'
import { openSessions } from '../src/session/sessions.ts'
import { messageTime, readSecureMessage, writeSecureMessage } from '../src/wire/secure-message.ts'
import { canonicalJson, type JsonObject } from '../src/wire/strict-json.ts'
import { NETWORK, note, selfOf } from '../test/kits/messaging.ts'
import type { Figure } from './figures.ts'
import { median, Running, root, until } from './kit.ts'
import type { Context } from './race.ts'

const CONNECTIONS = 32
const OUR_MESSAGES = 10_000
const THEIR_MESSAGES = 2_000
const python = '/usr/bin/python3'

/** Messages a second; the best of `runs` would flatter nobody, so the median. */
export async function messageHttp(context: Context, runs: number): Promise<Figure[]> {
  const ours: number[] = []
  const theirs: number[] = []
  for (let i = 0; i < runs; i++) {
    ours.push(await measureOurs(join(context.work, `messages-${i}`)))
    const rate = await measureTheirs().catch(() => undefined)
    if (rate === undefined) context.skip('FastAPI (python3-fastapi, python3-uvicorn, python3-cryptography)')
    else theirs.push(rate)
  }
  const all: Figure[] = [{ name: 'POST /message: signed, encrypted, on disk', value: median(ours), unit: 'messages/s' }]
  if (theirs.length === 0) return all
  return [
    ...all,
    { name: 'FastAPI: signed, in memory', value: median(theirs), unit: 'messages/s' },
    { name: 'ours, of FastAPI', value: (100 * median(ours)) / median(theirs), unit: '%', atLeast: 500 }
  ]
}

async function measureOurs(folder: string): Promise<number> {
  mkdirSync(folder)
  await using server = new Running(process.execPath, [join(root, 'bench/message-server.ts'), folder])
  const { id, port } = await server.line('port')
  const sender = await selfOf('sender')
  using sessions = openSessions({ clock: systemClock, random: randomBytes, self: sender, network: NETWORK })
  const url = `http://127.0.0.1:${port}/message`
  const post = async (frame: Uint8Array): Promise<{ reply?: JsonObject[] }> => {
    const response = await fetch(url, { method: 'POST', body: frame as BodyInit, headers: { 'content-type': 'application/json' } })
    return (await response.json()) as { reply?: JsonObject[] }
  }
  const pending = await sessions.begin(String(id))
  const { reply } = await post(pending.frame)
  const { session, frame } = await sessions.onHandshakeAck(readSecureMessage(utf8(canonicalJson(reply![0]!))), { peerId: undefined })
  await post(frame)
  const frames: Uint8Array[] = []
  for (let i = 0; i < OUR_MESSAGES; i++) frames.push((await session.seal('agent_message', payload())).frame)
  return await postAll(Number(port), frames)
}

async function measureTheirs(): Promise<number> {
  const sender = await selfOf('sender')
  const port = await freePort()
  await using server = new Running(python, [join(root, 'bench/message_server.py'), String(port), bytesToHex(sender.publicKey)])
  await until('FastAPI listens', async () => {
    if (server.child.exitCode !== null) throw new Error('it is not installed')
    return (await fetch(`http://127.0.0.1:${port}/health`).catch(() => undefined))?.ok === true
  })
  const frames: Uint8Array[] = []
  for (let i = 0; i < THEIR_MESSAGES; i++) {
    const head = { version: '1.1', msgType: 'agent_message', senderId: sender.entityId, recipientId: sender.entityId } as const
    const rest = { sessionId: newUuid(), sequenceNum: i, timestamp: messageTime(Date.now()), nonce: bytesToHex(randomBytes(32)) }
    frames.push(await writeSecureMessage({ ...head, ...rest, encrypted: false, data: payload() }, bytes => sender.signBytes(bytes)))
  }
  return await postAll(port, frames)
}

const payload = (): Uint8Array => utf8(canonicalJson({ ...note('x'.repeat(900)), message_id: newUuid() }))

/** Posts the frames over kept connections, in order, each connection one at a time. @returns answers a second */
async function postAll(port: number, frames: readonly Uint8Array[]): Promise<number> {
  const requests = frames.map(frame => {
    const head = `POST /message HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: ${frame.length}\r\n\r\n`
    return Buffer.concat([Buffer.from(head), frame])
  })
  const sockets = await Promise.all(Array.from({ length: CONNECTIONS }, () => opened(port)))
  // All are served before the first message: one that waits for its connection would hold up a session.
  await Promise.all(sockets.map(s => exchange(s, Buffer.from('GET /health HTTP/1.1\r\nHost: bench\r\n\r\n'))))
  let next = 0
  const begun = performance.now()
  await Promise.all(
    sockets.map(async socket => {
      for (let request = requests[next++]; request; request = requests[next++]) await exchange(socket, request)
      socket.destroy()
    })
  )
  return (frames.length * 1000) / (performance.now() - begun)
}

async function opened(port: number): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true })
  await once(socket, 'connect')
  return socket
}

/** One request and its whole answer, which must be 200. */
function exchange(socket: Socket, request: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    let text = ''
    const end = (error?: Error): void => {
      socket.off('data', onData).off('close', onClose)
      if (error) reject(error)
      else resolve()
    }
    const onClose = (): void => end(new Error('the server hung up'))
    const onData = (data: Buffer): void => {
      text += data.toString('latin1')
      const at = text.indexOf('\r\n\r\n')
      const length = /content-length: (\d+)/i.exec(text)?.[1]
      if (at < 0 || length === undefined || text.length < at + 4 + Number(length)) return
      end(text.startsWith('HTTP/1.1 200') ? undefined : new Error(text.slice(0, 500)))
    }
    socket.on('data', onData).once('close', onClose)
    socket.write(request)
  })
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}
