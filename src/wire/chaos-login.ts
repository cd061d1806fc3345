/**
 * Frames of the login of spec 003: Connect(AgentID, PubKey) → Challenge(Nonce) → SignedResponse(Signature) → ConnectionAccepted. Each frame
 * is one AgentLogin.
 *
 * | tag | type               | field     | fields                                                           |
 * | --: | ------------------ | --------- | ---------------------------------------------------------------- |
 * |   1 | Connect            | connect   | 1 string agent_id: did:key of 2 · 2 bytes public_key: 32 bytes   |
 * |   2 | Challenge          | challenge | 1 bytes nonce: 32 bytes                                          |
 * |   3 | SignedResponse     | response  | 1 bytes signature: 64 bytes                                      |
 * |   4 | ConnectionAccepted | accepted  | 1 string agent_id                                                |
 * |   5 | ConnectionRefused  | refused   | 1 string error_code · 2 string error_message, ≤ 256 bytes        |
 *
 * Signed: utf8("kith/agent-login/1") ‖ 0x00 ‖ nonce ‖ u16 length and agent_id ‖ u16 length and PeerId of who connects ‖ the same of the
 * other, PeerIds as their text. Spec: docs/wire/agent-message.md §8, proto/chaoschain.proto
 */
import { type Codec, Writer } from '../base/codec.ts'
import { MAX_AGENT_ID_BYTES, MAX_AGENT_NAME_BYTES } from './limits.ts'
import { fixed, layout, oneof, text, type Variant } from './protobuf-fields.ts'
import { signedBytes } from './signed.ts'

export const AGENT_LOGIN_DOMAIN = 'kith/agent-login/1'
/** Bytes of the longest frame. */
export const MAX_LOGIN_FRAME_BYTES = 1024

export interface LoginSteps {
  readonly connect: { readonly agentId: string; readonly publicKey: Uint8Array }
  readonly challenge: { readonly nonce: Uint8Array }
  readonly response: { readonly signature: Uint8Array }
  readonly accepted: { readonly agentId: string }
  readonly refused: { readonly code: string; readonly message: string }
}
export type LoginStep = Variant<LoginSteps>

const frame = layout<{ readonly step: LoginStep }>({
  step: oneof<LoginSteps>(
    {
      connect: [1, layout<LoginSteps['connect']>({ agentId: text(1, MAX_AGENT_ID_BYTES, /./s), publicKey: fixed(2, 32) })],
      challenge: [2, layout<LoginSteps['challenge']>({ nonce: fixed(1, 32) })],
      response: [3, layout<LoginSteps['response']>({ signature: fixed(1, 64) })],
      accepted: [4, layout<LoginSteps['accepted']>({ agentId: text(1, MAX_AGENT_ID_BYTES, /./s) })],
      refused: [5, layout<LoginSteps['refused']>({ code: text(1, 64, /^[A-Z][A-Z0-9_]{0,63}$/), message: text(2, MAX_AGENT_NAME_BYTES) })]
    },
    MAX_LOGIN_FRAME_BYTES
  )
})

export const loginStep: Codec<LoginStep> = { write: (w, step) => frame.write(w, { step }), read: r => frame.read(r).step }

/** What an agent signs: it binds its id to this channel and to nothing else. */
export function loginSignedBytes(login: {
  readonly nonce: Uint8Array
  readonly agentId: string
  /** PeerId texts of who logs in and of where. */
  readonly from: string
  readonly to: string
}): Uint8Array<ArrayBuffer> {
  const w = new Writer()
  w.bytes(login.nonce)
  for (const part of [login.agentId, login.from, login.to]) w.text16(part)
  return signedBytes(AGENT_LOGIN_DOMAIN, w.done())
}
