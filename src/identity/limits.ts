/** Every number that an input to this folder could otherwise choose. */

/** An .id.json has eight short fields. */
export const MAX_ID_FILE_BYTES = 8192
/** identity.json as we write it is about 2 KiB. */
export const MAX_IDENTITY_FILE_BYTES: number = 64 * 1024
/** Characters of a recovery phrase: 24 words of at most 8 letters. */
export const MAX_PHRASE_CHARS = 512
/** Characters of a PeerId's text: 64 bytes in base58. */
export const MAX_PEER_ID_CHARS = 90
/** Characters of `url` in an .id.json. */
export const MAX_URL_CHARS = 2048
