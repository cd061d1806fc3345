/** The Ed25519 key inside an entity id (did:key). */
import { base58btc } from 'multiformats/bases/base58'
import { KithError } from '../base/errors.ts'
import type { EntityId } from '../messaging/types.ts'
import { isEntity } from './fields.ts'

/** 32 bytes. @throws BAD_ENTITY */
export function entityKey(id: EntityId): Uint8Array {
  if (isEntity(id)) {
    try {
      const bytes = base58btc.decode(id.slice('did:key:'.length))
      if (bytes.length === 34 && bytes[0] === 0xed && bytes[1] === 0x01) return bytes.subarray(2)
    } catch {
      // said below
    }
  }
  throw new KithError('BAD_ENTITY', 'not the did:key of an Ed25519 key')
}
