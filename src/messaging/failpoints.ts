/** The moments at which tests end the process, to see what a crash there costs. Called with each right when it has been reached. */

export const failpointNames = [
  'send:asked',
  'send:in-transaction',
  'send:committed',
  'link:opened',
  'link:accepted',
  'session:made',
  'frame:sealed',
  'frame:sent',
  'frame:received',
  'frame:opened',
  'inbox:queued',
  'inbox:in-transaction',
  'inbox:committed',
  'ack:sealed',
  'ack:sent',
  'ack:received',
  'delivered:in-transaction',
  'delivered:committed',
  'failed:committed',
  'handler:before',
  'handler:resolved',
  'done:in-transaction',
  'done:committed',
  'error:committed',
  'chunk:sent',
  'chunk:received',
  'chunk:whole',
  'link:lost',
  'relayed:before',
  'relayed:committed'
] as const
export type FailpointName = (typeof failpointNames)[number]
export type Failpoint = (name: FailpointName) => void

/** Mistakes that the fault tests must notice; never set outside of them. */
export type PlantedBug = 'ack-before-commit' | 'replay-in-memory'
