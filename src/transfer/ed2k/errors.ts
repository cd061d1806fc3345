/** Error codes of this folder; it also throws the SOURCE_ codes and PAYMENT_REQUIRED of `transfer/errors.ts`. */
export const ed2kErrors = {
  ED2K_WIRE: 'bytes that are not eDonkey packets, or more of them than anybody may send',
  BAD_ED2K_LINK: 'not an ed2k link to a file',
  BAD_SERVER_MET: 'not a server.met of eMule',
  BAD_NETWORK_FILE: 'a nodes.dat or server.met that is too long to be one',
  SERVER_LOST: 'the connection with an eDonkey server ended, or it gave us no id',
  HASHSET_FAILED: 'no source gave the part hashes of an ed2k link'
} as const
