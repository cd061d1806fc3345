/** Where a command says things: results on stdout, everything else on stderr. */
import { systemClock } from '../base/clock.ts'
import { codeOf, hintOf, textOf } from '../base/errors.ts'
import { clean, toJsonLine } from './format.ts'
import { LiveScreen } from './live-screen.ts'
import { colourPalette, type Palette, plainPalette } from './progress.ts'

export interface OutputOptions {
  /** --json, --no-json, or undefined: JSON unless stdout is a terminal. */
  readonly json: boolean | undefined
}

export class Output {
  /** True when stdout gets one JSON value per line. */
  readonly json: boolean
  /** True when JSON was asked for in so many words: progress goes to stdout as JSON too, and stderr stays quiet. */
  readonly scripted: boolean

  constructor(options: OutputOptions) {
    this.json = options.json ?? process.stdout.isTTY !== true
    this.scripted = options.json === true
    // A reader that went away (`| head`) must not end a node that seeds.
    for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})
  }

  /** The result of a command: `value` in JSON, else `lines` for people. */
  result(value: unknown, lines: () => readonly string[]): void {
    process.stdout.write(
      this.json
        ? `${toJsonLine(value)}\n`
        : lines()
            .map(l => `${l}\n`)
            .join('')
    )
  }

  /** A step on the way, only for scripts that asked for JSON. */
  event(value: unknown): void {
    if (this.scripted) process.stdout.write(`${toJsonLine(value)}\n`)
  }

  /** A line for people, beside the result. */
  note(line: string): void {
    if (!this.scripted) process.stderr.write(`${line}\n`)
  }

  /** For pictures; undefined without a terminal or with --json. */
  screen(): LiveScreen | undefined {
    if (this.scripted || process.stderr.isTTY !== true || process.env['TERM'] === 'dumb') return undefined
    const screen = new LiveScreen(process.stderr, systemClock)
    process.once('exit', () => screen[Symbol.dispose]()) // however the process ends, the cursor comes back
    return screen
  }

  /** Colours of stderr: NO_COLOR and FORCE_COLOR as everywhere. */
  get palette(): Palette {
    return process.stderr.isTTY === true && process.stderr.hasColors() ? colourPalette : plainPalette
  }

  /** Sentence, code and hint on stderr, and JSON on stdout where that is JSON. */
  error(error: unknown): void {
    const code = codeOf(error)
    const message = textOf(error)
    const hint = hintOf(error)
    process.stderr.write(`kith: ${message} (${clean(code, 60)})\n${hint === undefined ? '' : `  try: ${clean(hint)}\n`}`)
    if (this.json) process.stdout.write(`${toJsonLine({ error: { code, message, ...(hint === undefined ? {} : { hint }) } })}\n`)
  }
}
