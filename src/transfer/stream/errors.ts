/** Codes that a seeder sends as a refusal (docs/wire/stream.md §3); what a source makes of them is in ../errors.ts. */
export const refusalCodes = {
  PAYMENT_REQUIRED: 'the file costs money; these streams carry free files only',
  UNKNOWN_SHARE: 'no such file here',
  CHUNK_MISSING: 'a part that is not there (yet)',
  FILE_CHANGED: 'the file is no longer what was shared',
  BAD_REQUEST: 'a range that is outside the file or too long',
  INTERNAL: 'the file could not be read'
} as const
