/** Other people's programs that fetch over HTTP and rsync, set up as their users would for speed, all on loopback. */
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { isInstalled, measure, Running, type Sample, until } from './kit.ts'

export interface Mirror {
  readonly process: Running
  readonly url: string
}

export async function freePort(): Promise<number> {
  const server = createServer()
  const { promise, resolve } = Promise.withResolvers<number>()
  server.listen(0, '127.0.0.1', () => {
    const address = server.address()
    server.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
  })
  return await promise
}

/** A certificate that nobody but `curl --insecure` believes, made by openssl. @returns its folder */
async function makeCertificate(folder: string): Promise<string> {
  const args = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=localhost']
  await using openssl = new Running('openssl', [...args, '-keyout', join(folder, 'key.pem'), '-out', join(folder, 'cert.pem')])
  await openssl.result()
  return folder
}

/** One nginx that serves `folder` with sendfile; over TLS the kernel cannot help it. */
export async function startNginx(
  work: string,
  folder: string,
  name: string,
  { tls = false }: { readonly tls?: boolean } = {}
): Promise<Mirror> {
  const port = await freePort()
  const own = join(work, `nginx-${port}`)
  mkdirSync(own, { recursive: true })
  const certificate = tls ? await makeCertificate(own) : ''
  const secure = tls ? `ssl_certificate ${certificate}/cert.pem; ssl_certificate_key ${certificate}/key.pem; ssl_protocols TLSv1.3;` : ''
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(k => `${k}_temp_path ${own}/${k};`).join(' ')
  writeFileSync(
    join(own, 'conf'),
    `daemon off; master_process off; worker_processes 1; pid ${own}/pid; error_log ${own}/error.log;
events { worker_connections 256; }
http { access_log off; sendfile on; tcp_nopush on; ${temp}
  server { listen 127.0.0.1:${port}${tls ? ' ssl' : ''}; ${secure} root ${folder}; } }`
  )
  const nginx = new Running(isInstalled('nginx') && !existsSync('/usr/sbin/nginx') ? 'nginx' : '/usr/sbin/nginx', [
    '-e',
    `${own}/error.log`,
    '-c',
    join(own, 'conf')
  ])
  await answering(nginx, port)
  return { process: nginx, url: `${tls ? 'https' : 'http'}://127.0.0.1:${port}/${name}` }
}

/** Resolves when `server` takes connections. */
const answering = (server: Running, port: number): Promise<void> =>
  until(`${server.child.spawnfile} answers`, () => {
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const socket = connect(port, '127.0.0.1', () => socket.destroy())
    socket.once('error', () => resolve(false)).once('close', failed => resolve(!failed))
    return promise
  })

/** `curl -o file url`, then `openssl dgst -sha256 file`, as a careful user does it. */
export async function curlAndHash(mirror: Mirror, out: string, sha256: string): Promise<Sample> {
  rmSync(out, { force: true })
  const script = `TIMEFORMAT='{"user":%U,"system":%S}'; time { curl -sk -o "$0" "$1" && openssl dgst -sha256 -r "$0" | grep -q "^$2"; }`
  let cpuDown = 0
  const sample = await measure(
    [mirror.process],
    () => new Running('/bin/bash', ['-c', `{ ${script}; } 2>&1`, out, mirror.url, sha256]),
    last => {
      cpuDown = Number(last['user']) + Number(last['system'])
      return undefined
    }
  )
  rmSync(out, { force: true })
  return { ...sample, cpuDown }
}

/** aria2 with one connection to each mirror and its own check of the whole file's SHA-256. */
export async function aria2(mirrors: readonly Mirror[], folder: string, sha256: string): Promise<Sample> {
  const args = [
    ...['--no-conf', '--quiet', '--file-allocation=none', '--allow-overwrite=true', '--min-split-size=1M', '-d', folder, '-o', 'out.bin'],
    ...[`--split=${mirrors.length}`, '--max-connection-per-server=1', `--checksum=sha-256=${sha256}`],
    ...mirrors.map(m => m.url)
  ]
  const servers = mirrors.map(m => m.process)
  return inEmpty(folder, () => measure(servers, () => new Running('aria2c', args)))
}

/** An rsync daemon that serves `folder` as the module `m`. */
export async function startRsync(work: string, folder: string, name: string): Promise<Mirror> {
  const port = await freePort()
  const conf = join(work, `rsyncd-${port}.conf`)
  writeFileSync(conf, `use chroot = no\nuid = 0\ngid = 0\nlog file = /dev/null\n[m]\npath = ${folder}\nread only = yes\n`)
  const args = ['--daemon', '--no-detach', `--config=${conf}`, '--address=127.0.0.1', `--port=${port}`]
  const daemon = new Running('rsync', args)
  await answering(daemon, port)
  return { process: daemon, url: `rsync://127.0.0.1:${port}/m/${name}` }
}

/** rsync checks the whole file by its own checksum. */
export async function rsync(mirror: Mirror, folder: string): Promise<Sample> {
  return inEmpty(folder, () => measure([mirror.process], () => new Running('rsync', ['-q', mirror.url, `${folder}/`])))
}

/** Runs with an empty folder that is gone afterwards. */
export async function inEmpty(folder: string, work: () => Promise<Sample>): Promise<Sample> {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const sample = await work()
  rmSync(folder, { recursive: true, force: true })
  return sample
}
