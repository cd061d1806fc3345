/**
 * The answer of `message-relay`: what became of an envelope.
 *
 * | bytes | field   | notes                                                                                    |
 * | ----: | ------- | ---------------------------------------------------------------------------------------- |
 * |     1 | outcome | 1 delivered: the recipient has it on disk; 2 deposited: a mailbox has; 3 nobody took it   |
 * |     1 | hops    | peers that carried it on, ≤ 8                                                            |
 * |   2+n | code    | outcome 3: why (upper-case letters, digits and _, ≤ 64); else empty                       |
 *
 * Spec: docs/wire/reach.md §4
 */
import type { Codec } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import { MAX_HOPS, MAX_WIRE_CODE_CHARS } from './limits.ts'

export const MESSAGE_RELAY_METHOD = 'message-relay'

const OUTCOMES = ['delivered', 'deposited', 'no-route'] as const
export type RelayOutcome = (typeof OUTCOMES)[number]

export interface RelayAnswer {
  readonly outcome: RelayOutcome
  readonly hops: number
  /** Why nobody took it; empty when somebody did. */
  readonly code: string
}

export const relayAnswerCodec: Codec<RelayAnswer> = {
  write(w, m) {
    w.u8(OUTCOMES.indexOf(m.outcome) + 1)
    w.u8(m.hops)
    w.text16(m.code)
  },
  read(r) {
    const outcome = OUTCOMES[r.u8() - 1]
    const hops = r.u8()
    const code = r.text16(MAX_WIRE_CODE_CHARS)
    if (!outcome || hops > MAX_HOPS) throw new KithError('WIRE_RANGE', 'unknown outcome or too many hops')
    if (outcome === 'no-route' ? !/^[A-Z][A-Z0-9_]*$/.test(code) : code !== '')
      throw new KithError('WIRE_TEXT', 'not the code of an outcome')
    return { outcome, hops, code }
  }
}
