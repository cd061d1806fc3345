/** Reads the config file of a home and merges it with flags and environment. */
import { existsSync, readFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { isAbsolute, join, resolve } from 'node:path'
import { type Config, type ConfigFlags, foldersOf, mergeConfig } from './config.ts'
import { parseConfigFile } from './config-file.ts'

/** @throws BAD_CONFIG */
export function loadConfig(flags: ConfigFlags, env: Readonly<Record<string, string | undefined>>): Config {
  const home = flags.home ?? env['KITH_HOME']
  const folders = foldersOf(home && !isAbsolute(home) ? resolve(home) : home, env)
  const path = join(folders.config, 'config.json')
  const file = existsSync(path) ? parseConfigFile(readFileSync(path, 'utf8'), path) : undefined
  return mergeConfig(folders, file, flags, env, hasIpv6())
}

/** Without IPv6 not even loopback has an address of it. */
const hasIpv6 = (): boolean => Object.values(networkInterfaces()).some(list => list?.some(a => a.family === 'IPv6'))
