/** ed2k with amuled at the other end: the interop test does it in network namespaces; here it sends more, and its figures are read. */
import { join } from 'node:path'
import type { Figure } from './figures.ts'
import { isInstalled, Running, root } from './kit.ts'
import type { Context } from './race.ts'

const MIB = 128

export async function amule(context: Context): Promise<Figure[]> {
  const missing = [
    ['amuled', 'amule-daemon'],
    ['amulecmd', 'amule-utils'],
    ['gcc', 'gcc'],
    ['ip', 'iproute2']
  ].find(([p]) => !isInstalled(p!))
  if (missing || process.getuid?.() !== 0) {
    context.skip(
      missing ? `${missing[0]} is not installed (Debian: ${missing[1]})` : 'amuled needs a network namespace, and that needs root'
    )
    return []
  }
  const mib = Math.min(MIB, context.mib)
  const test = join(root, 'test', 'interop', 'ed2k.test.ts')
  const pattern = 'us, plain|10 MiB and an exact part'
  const args = ['--test', '--test-reporter=spec', `--test-name-pattern=${pattern}`, '--test-concurrency=1', test]
  await using run = new Running(process.execPath, args, { KITH_ED2K_MIB: String(mib) })
  await run.result()
  const said = (what: RegExp): number => Number(run.lines.map(l => what.exec(l)?.[1]).find(found => found !== undefined))
  return [
    { name: `amuled fetches ${mib} MiB from us`, value: said(/([\d.]+) MiB\/s/), unit: 'MiB/s', atLeast: 65 },
    { name: 'we fetch 10 MiB from amuled, at its own pace', value: said(/ten\.bin: ([\d.]+) s/), unit: 's', atMost: 13 }
  ]
}
