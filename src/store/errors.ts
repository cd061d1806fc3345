/** Error codes of the stores. */
export const storeErrors = {
  STORE_CORRUPT: 'a database file is damaged; it is named and left untouched',
  STORE_NEWER: 'a newer version of Kith wrote this database',
  STORE_READ_ONLY: 'the database cannot be written',
  DISK_FULL: 'no space left on the device; nothing was acknowledged'
} as const
