/** Error codes of this folder; it also throws those of `transfer/bittorrent`, SOURCE_LOST and UNKNOWN_SHARE. */
export const webtorrentErrors = {
  WEBRTC_UNAVAILABLE: 'the native library for WebRTC is not installed for this machine',
  BAD_SDP: 'a description of a WebRTC connection breaks the rules or asks for more than a data channel',
  BAD_ICE_SERVER: 'not the address of a STUN or TURN server',
  TRACKER_MESSAGE: 'a message of a WebSocket tracker or its client breaks the rules',
  RATE_LIMITED: 'more offers of connections than are answered'
} as const
