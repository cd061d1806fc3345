import { KithError } from '../base/errors.ts'
import { keyOfDid } from '../wire/did-key.ts'

/** The Ed25519 key inside an entity id. @throws UNKNOWN_SENDER */
export function keyOfEntity(entityId: string): Uint8Array {
  const key = keyOfDid(entityId)
  if (!key) throw new KithError('UNKNOWN_SENDER', 'not the did:key of an Ed25519 key')
  return key
}
