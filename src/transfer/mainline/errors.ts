/** Error codes of BitTorrent's DHT. */
export const mainlineErrors = {
  BAD_KRPC: 'a datagram is not a message of BitTorrent’s DHT, or breaks its limits',
  DHT_NO_ANSWER: 'a node of the DHT did not answer in time',
  DHT_REFUSED: 'a node of the DHT refused a request; data.code says why',
  DHT_ITEM_REFUSED: 'an item of the DHT breaks the rules of BEP 44; data.code is the one on the wire'
} as const
