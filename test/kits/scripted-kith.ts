/** The command line over a scripted node: a real process, a real lock and a real API, and a download that a test steers. */
import { createInterface } from 'node:readline'
import { realDeps } from '../../src/cli/deps.ts'
import { run } from '../../src/cli/run.ts'
import type { DownloadView } from '../../src/node/types.ts'
import { lockFolder } from '../../src/platform/files.node.ts'
import { downloadView, scriptedNode, sourceView } from './scripted-node.ts'

/** What each address does: `ends` in done, fails with a code, or runs until it is cancelled. */
const endings: Readonly<Record<string, Partial<DownloadView>>> = {
  good: { state: 'done', message: 'done', chunksDone: 4, verifiedBytes: 1_048_576, sha256Matches: true, finishedAt: 1_700_000_002_000 },
  'no-sources': { state: 'failed', error: { code: 'NO_SOURCES', message: 'nobody has it', hint: 'ask who shared it' } },
  expensive: { state: 'failed', error: { code: 'OVER_BUDGET', message: 'it would cost 2 coin' } },
  wrong: { state: 'failed', error: { code: 'HASH_MISMATCH', message: 'the \u001b[31mhash\u0007 differs' } }
}

process.exitCode = await run(process.argv.slice(2), {
  ...realDeps,
  openNode: async config => {
    const lock = lockFolder(config.folders.data)
    const node = scriptedNode()
    node.script.get = async request => {
      const view = downloadView({ address: request.address, name: 'evil\u001b[2J\u202egnp.exe', path: `${request.folder}/file.iso` })
      node.downloadsById.set(view.id, view)
      const ending = endings[request.address]
      const steps = [
        { verifiedBytes: 786_432, sources: [sourceView(), sourceView({ key: 'b', protocol: 'bittorrent', peer: '10.0.0.3' })] }
      ]
      for (const step of ending ? [...steps, ending] : steps) {
        setImmediate(() => {
          const next = { ...view, ...step }
          node.downloadsById.set(view.id, next)
          node.emit({ type: 'download:changed', download: next })
        })
      }
      return view
    }
    // A test may hold the disposal up, to see what a second signal does.
    const slow = process.env['SCRIPTED_SLOW_CLOSE'] === '1'
    return {
      ...node,
      info: () => ({ ...node.info(), home: config.folders.home }),
      [Symbol.asyncDispose]: async () => {
        if (slow) await new Promise(() => createInterface({ input: process.stdin }))
        lock[Symbol.dispose]()
      }
    }
  }
})
