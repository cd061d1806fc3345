/** Numbers of the packets between clients that Kith knows. Others are skipped. Spec: docs/wire/ed2k.md §3 */

/** Protocol E3. */
export const edonkey = {
  hello: 0x01,
  sendingPart: 0x46,
  requestParts: 0x47,
  noSuchFile: 0x48,
  endOfDownload: 0x49,
  helloAnswer: 0x4c,
  statusRequest: 0x4f,
  status: 0x50,
  hashSetRequest: 0x51,
  hashSet: 0x52,
  startUpload: 0x54,
  acceptUpload: 0x55,
  cancelTransfer: 0x56,
  outOfParts: 0x57,
  nameRequest: 0x58,
  name: 0x59,
  queueRank: 0x5c
} as const

/** Protocol C5. */
export const emule = {
  compressedPart: 0x40,
  /** Kith's own (docs/wire/ed2k.md §8): no other program uses this number. */
  kith: 0x4b,
  queueRanking: 0x60,
  /** Inside a multipacket only: aMule refuses it alone. */
  sourcesRequest: 0x81,
  sourcesRequest2: 0x83,
  sources2: 0x84,
  publicKey: 0x85,
  signature: 0x86,
  secIdentState: 0x87,
  multiPacket: 0x92,
  multiPacketAnswer: 0x93,
  publicIpRequest: 0x97,
  publicIp: 0x98,
  /** "Your port can be reached": for Kad. */
  portReached: 0xa8,
  recoveryRequest: 0x9b,
  recovery: 0x9c,
  aichRoot: 0x9d,
  aichRootRequest: 0x9e,
  compressedPart64: 0xa1,
  sendingPart64: 0xa2,
  requestParts64: 0xa3,
  multiPacketExt: 0xa4
} as const
