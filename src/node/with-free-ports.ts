/** Default ports that are taken (another node on this machine) fall back to free ones; chosen ports do not. */
import { hasCode } from '../base/errors.ts'
import type { Config } from './config.ts'

/** @param open is called with true when it is to take any free port @throws what `open` throws */
export async function withFreePorts<T>(config: Config, code: string, open: (free: boolean) => Promise<T>): Promise<T> {
  try {
    return await open(false)
  } catch (error) {
    if (config.portsAreFixed || !hasCode(error, code)) throw error
    return open(true)
  }
}
