/** Error codes of eDonkey's Kad. */
export const kadErrors = {
  KAD_WIRE: 'a datagram is not a message of Kad, or breaks its limits',
  BAD_NODES_FILE: 'not a nodes.dat of eMule',
  KAD_NO_ANSWER: 'a node of Kad did not answer in time'
} as const
