/** Error codes of this folder; it also throws the SOURCE_ codes and PAYMENT_REQUIRED of `transfer/errors.ts`. */
export const bittorrentErrors = {
  BENCODE_ERROR: 'not bencoded data, not in its one spelling, or beyond the limits',
  BAD_TORRENT: 'a torrent breaks the rules or asks for something that is not supported',
  BAD_MAGNET: 'not a magnet link with one BitTorrent info-hash of a version',
  PEER_WIRE: 'a peer sent bytes that are not BitTorrent messages, or more than it may',
  METADATA_FAILED: 'no peer gave the metadata of a magnet link',
  TRACKER_FAILED: 'a tracker refused, did not answer, or answered nonsense'
} as const
