/** Error codes of this folder. What it finds is only a proposal, so little of it fails: lookups end, announcements are tried again. */
export const discoveryErrors = {
  BAD_BOOTSTRAP: 'a bootstrap address is not a multiaddr with a PeerId',
  BAD_RECORD: 'a peer record is too long, too old, holds for too long, or is not signed by whom its certificate names',
  BAD_ANNOUNCEMENT: 'what this instance would tell about itself does not fit into a peer record'
} as const
