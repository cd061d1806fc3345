/** Error codes of the stores. */
export const storeErrors = {
  STORE_CORRUPT: 'a database file is damaged; it is named and left untouched',
  STORE_NEWER: 'a newer version of Kith wrote this database',
  STORE_READ_ONLY: 'the database cannot be written',
  DISK_FAILED: 'the disk did not keep what was written; nothing of it was acknowledged, and nothing more is until the node is restarted',
  DISK_FULL: 'no space left on the device; nothing was acknowledged'
} as const
