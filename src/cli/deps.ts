/** What the commands need from the rest of Kith, loaded when it is used: most commands never open a node. */
import type { Logger } from '../base/log.ts'
import type { Config, ConfigFlags } from '../node/config.ts'
import type { KithNode } from '../node/types.ts'

export interface CliDeps {
  readonly env: Readonly<Record<string, string | undefined>>
  loadConfig(flags: ConfigFlags): Promise<Config>
  openNode(
    config: Config,
    options: {
      readonly signal: AbortSignal
      readonly log: Logger
      readonly resume?: boolean
      readonly fetches?: boolean
      readonly token?: string
    }
  ): Promise<KithNode>
}

export const realDeps: CliDeps = {
  env: process.env,
  loadConfig: async flags => {
    const { loadConfig } = await import('../node/load-config.node.ts')
    return loadConfig(flags, process.env)
  },
  openNode: async (config, options) => {
    const [{ openNode }, { limitYoungHeap }] = await Promise.all([import('../node/open.node.ts'), import('./young-heap.ts')])
    limitYoungHeap()
    return openNode(config, options)
  }
}
