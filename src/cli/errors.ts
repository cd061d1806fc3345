/** Error codes of the command line itself. */
export const cliErrors = {
  USAGE: 'the command line does not make sense; see --help',
  NO_TTY: 'the command would ask a person, and there is no terminal',
  NO_PHRASE: 'this home keeps no recovery phrase',
  BAD_SIZE: 'not a size or rate',
  BAD_DURATION: 'not a time',
  BAD_NUMBER: 'not a number from 1 on',
  AMBIGUOUS_ID: 'the first digits of an id fit several',
  INTERRUPTED: 'stopped by a signal'
} as const
