/** Files about eDonkey's networks: other programs' nodes.dat and server.met, and our own list of Kad nodes of the last time. */
import { closeSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs'
import { KithError, textOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { writeFileDurably } from '../../platform/files.node.ts'
import { classOfAddress } from '../address-filter.ts'
import { parsePeerAddress } from '../bittorrent/urls.ts'
import { MAX_SAVED_NODES } from '../kad/limits.ts'
import { readNodesFile } from '../kad/nodes-file.ts'
import { MAX_NETWORK_FILE_BYTES } from './limits.ts'
import { readServerMet } from './server-met.ts'

export interface NetworkFiles {
  /** Paths; undefined: none. */
  readonly nodesFile: string | undefined
  readonly serverMet: string | undefined
}

/** "host:port" of servers and first nodes that the files name. One that cannot be read is left out with a warning. */
export function readNetworkFiles({ nodesFile, serverMet }: NetworkFiles, log: Logger): { servers: string[]; nodes: string[] } {
  const read = (path: string | undefined, parse: (bytes: Uint8Array) => string[]): string[] => {
    if (path === undefined) return []
    try {
      return parse(readSmallFile(path))
    } catch (error) {
      log.warn('a file of eDonkey cannot be used', { path, why: textOf(error) })
      return []
    }
  }
  return { servers: read(serverMet, readServerMet), nodes: read(nodesFile, readNodesFile) }
}

/** The nodes of the last time; none when there was none, or the file is damaged. Private ones are not first nodes: only the user names those. */
export function loadKadNodes(path: string): string[] {
  try {
    const lines = readFileSync(path, 'utf8').split('\n').slice(0, MAX_SAVED_NODES)
    return lines.filter(line => classOfAddress(parsePeerAddress(line)?.host ?? '') === 'public')
  } catch {
    return []
  }
}

/** @throws DISK_FULL */
export function saveKadNodes(path: string, nodes: readonly string[]): void {
  if (nodes.length > 0) writeFileDurably(path, `${nodes.join('\n')}\n`)
}

/** @throws BAD_NETWORK_FILE when it is longer than any such file */
function readSmallFile(path: string): Uint8Array {
  const file = openSync(path, 'r')
  try {
    const { size } = fstatSync(file)
    if (size > MAX_NETWORK_FILE_BYTES) throw new KithError('BAD_NETWORK_FILE', 'the file is too long', { size })
    const bytes = new Uint8Array(size)
    return bytes.subarray(0, readSync(file, bytes, 0, size, 0))
  } finally {
    closeSync(file)
  }
}
