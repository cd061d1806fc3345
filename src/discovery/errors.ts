/** Error codes of this folder. What it finds is only a proposal, so little of it fails: lookups end, announcements are tried again. */
export const discoveryErrors = {
  BAD_BOOTSTRAP: 'a bootstrap address is not a multiaddr with a PeerId'
} as const
