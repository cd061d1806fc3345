/** What opens the API of one run of a node. */
import { randomBytes } from '#crypto'
import { bytesToBase64Url } from '../base/bytes.ts'

/** 256 random bits. */
export const newApiToken = (): string => bytesToBase64Url(randomBytes(32))
