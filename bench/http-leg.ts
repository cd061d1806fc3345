/**
 * The HTTP leg alone: MB/s and CPU seconds per GiB of our server and our source, beside curl and nginx in the same run.
 * `node bench/http-leg.ts [MiB] [runs]`. Rows are interleaved, memory is warmed first; medians. Nothing is verified or written
 * here (that is the business of the whole download's benchmark): curl writes to /dev/null, our source to slots that are dropped.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { createHash, randomFillSync } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { hexToBytes } from '../src/base/bytes.ts'
import { systemClock } from '../src/base/clock.ts'
import { silentLogger } from '../src/base/log.ts'
import { makeGrid } from '../src/transfer/grid.ts'
import { openHttpServer } from '../src/transfer/http/server.node.ts'
import { httpProtocol } from '../src/transfer/http/source.node.ts'
import type { Delivery, Share, Slot } from '../src/transfer/protocol.ts'

const run = promisify(execFile)
const [role = 'main', ...args] = process.argv.slice(2)

interface Row {
  readonly seconds: number
  readonly cpuDown: number
  readonly cpuUp: number
}

async function seed(path: string, id: string): Promise<void> {
  const file = await open(path)
  const { size } = await file.stat()
  const share: Share = {
    fileId: hexToBytes(id),
    root: new Uint8Array(32),
    grid: makeGrid(size),
    name: 'bench.bin',
    mime: 'application/octet-stream',
    pricePerMb: 0n,
    pieces: undefined,
    has: () => true,
    onChunk: () => {},
    read: async (offset, length, target) => {
      for (let at = 0; at < length; ) {
        const { bytesRead } = await file.read(target, at, length - at, offset + at)
        if (bytesRead === 0) throw new Error('file ended early')
        at += bytesRead
      }
    }
  }
  const gate = { admit: async () => undefined, customerOf: () => undefined, sent: () => {} }
  const shares = { byFileId: (hex: string) => (hex === id ? share : undefined), byInfoHash: () => undefined }
  const server = await openHttpServer({ shares, gate, clock: systemClock, log: silentLogger }, { host: '127.0.0.1' })
  console.log(server.port)
}

async function leech(port: number, id: string, size: number): Promise<void> {
  const grid = makeGrid(size)
  await using protocol = httpProtocol({ clock: systemClock })
  const begun = performance.now()
  const cpu = process.cpuUsage()
  const endpoint = { host: '127.0.0.1', port, extra: new Uint8Array(), fileId: hexToBytes(id), grid, seeder: '00', ticket: undefined }
  await using source = await protocol.openSource(endpoint, new AbortController().signal)
  const free: Slot[] = Array.from({ length: 16 }, () => ({ bytes: new Uint8Array(new SharedArrayBuffer(grid.chunkBytes)) }))
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < grid.count) {
      const first = next
      const count = Math.min(source.maxRun, grid.count - first)
      next += count
      const slots = new Map<number, Slot>()
      const delivery: Delivery = {
        grid,
        run: { first, count },
        wants: () => true,
        slot: chunk => {
          const slot = free.pop()!
          slots.set(chunk, slot)
          return slot
        },
        received: () => {},
        complete: chunk => {
          free.push(slots.get(chunk)!)
          slots.delete(chunk)
        }
      }
      await source.fetch(delivery, new AbortController().signal)
    }
  }
  await Promise.all(Array.from({ length: source.parallel }, lane))
  const { user, system } = process.cpuUsage(cpu)
  console.log(
    JSON.stringify({ seconds: (performance.now() - begun) / 1000, cpu: (user + system) / 1e6, rss: process.resourceUsage().maxRSS })
  )
}

/** CPU seconds that a process (and its waited-for children) has used. */
async function cpuOf(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]!.split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

async function curlRow(url: string, serverPid: number): Promise<Row> {
  const before = await cpuOf(serverPid)
  const begun = performance.now()
  const { stdout } = await run('bash', ['-c', `TIMEFORMAT='%U %S'; time curl -s -o /dev/null '${url}'`]).then(r => ({ stdout: r.stderr }))
  const seconds = (performance.now() - begun) / 1000
  return {
    seconds,
    cpuDown: stdout
      .trim()
      .split(' ')
      .reduce((n, x) => n + Number(x), 0),
    cpuUp: (await cpuOf(serverPid)) - before
  }
}

async function oursRow(port: number, id: string, size: number, serverPid: number): Promise<Row> {
  const before = await cpuOf(serverPid)
  const { stdout } = await run(process.execPath, [import.meta.filename, 'leech', String(port), id, String(size)])
  const { seconds, cpu } = JSON.parse(stdout) as { seconds: number; cpu: number }
  return { seconds, cpuDown: cpu, cpuUp: (await cpuOf(serverPid)) - before }
}

async function startNginx(folder: string, root: string, stack: AsyncDisposableStack): Promise<{ port: number; pid: number }> {
  const port = 20_000 + (process.pid % 20_000)
  await mkdir(join(folder, 'nginx'))
  const conf = `daemon off; master_process off; worker_processes 1; pid ${folder}/nginx/pid; error_log ${folder}/nginx/error.log;
    events { worker_connections 256; }
    http { access_log off; sendfile on; client_body_temp_path ${folder}/nginx/b; proxy_temp_path ${folder}/nginx/p; fastcgi_temp_path ${folder}/nginx/f;
      uwsgi_temp_path ${folder}/nginx/u; scgi_temp_path ${folder}/nginx/s; server { listen 127.0.0.1:${port}; root ${root}; } }`
  await writeFile(join(folder, 'nginx', 'conf'), conf)
  const child = spawn('nginx', ['-e', `${folder}/nginx/error.log`, '-c', join(folder, 'nginx', 'conf')], { stdio: 'inherit' })
  stack.defer(() => stop(child))
  for (let i = 0; ; i++) {
    try {
      await run('curl', ['-s', '-o', '/dev/null', `http://127.0.0.1:${port}/`])
      return { port, pid: child.pid! }
    } catch (error) {
      if (i > 50) throw error
      await new Promise(resolve => setTimeout(resolve, 50))
    }
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGKILL')
  await once(child, 'exit')
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!

async function main(mib: number, runs: number): Promise<void> {
  await using stack = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'kith-bench-'))
  stack.defer(() => rm(folder, { recursive: true, force: true }))
  const path = join(folder, 'bench.bin')
  const size = mib * 2 ** 20
  const hash = createHash('sha256')
  const out = await open(path, 'w')
  const block = Buffer.alloc(2 ** 20)
  for (let i = 0; i < mib; i++) {
    hash.update(randomFillSync(block))
    await out.write(block)
  }
  await out.close()
  const id = hash.digest('hex')
  const server = spawn(process.execPath, [import.meta.filename, 'seed', path, id], { stdio: ['ignore', 'pipe', 'inherit'] })
  stack.defer(() => stop(server))
  const [line] = (await once(createInterface(server.stdout), 'line')) as [string]
  const port = Number(line)
  const nginx = await startNginx(folder, folder, stack)
  const warm = Buffer.alloc(1.5 * 2 ** 30, 1) // first touch of memory is slow on virtual machines: pay for it before the clock
  console.log(`warmed ${warm.length / 2 ** 20} MiB; file ${mib} MiB; ${runs} runs each, interleaved`)
  const variants: Record<string, () => Promise<Row>> = {
    'kith server -> kith source': () => oursRow(port, id, size, server.pid!),
    'kith server -> curl': () => curlRow(`http://127.0.0.1:${port}/${id}`, server.pid!),
    'nginx -> curl': () => curlRow(`http://127.0.0.1:${nginx.port}/bench.bin`, nginx.pid)
  }
  const rows = new Map<string, Row[]>(Object.keys(variants).map(k => [k, []]))
  for (let i = 0; i <= runs; i++)
    for (const [name, once] of Object.entries(variants)) {
      const row = await once()
      if (i > 0) rows.get(name)!.push(row) // the first round warms caches
    }
  for (const [name, all] of rows) {
    const per = (f: (r: Row) => number): string => ((median(all.map(f)) * 1024) / mib).toFixed(2)
    const mbs = size / 1e6 / median(all.map(r => r.seconds))
    const best = size / 1e6 / Math.min(...all.map(r => r.seconds))
    console.log(
      `${name.padEnd(28)} ${mbs.toFixed(0).padStart(5)} MB/s (best ${best.toFixed(0)})   CPU s/GiB: down ${per(r => r.cpuDown)}  up ${per(r => r.cpuUp)}`
    )
  }
}

if (role === 'seed') await seed(args[0]!, args[1]!)
else if (role === 'leech') await leech(Number(args[0]), args[1]!, Number(args[2]))
else await main(Number(role === 'main' ? 1024 : role), Number(args[0] ?? 5))
