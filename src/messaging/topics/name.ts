/** Names of gossip topics: `/kith/agents/1` for everybody, `/kith/agents/1/NAME` for those who agreed on a name. */
import { KithError } from '../../base/errors.ts'
import { MAX_TOPIC_BYTES } from '../limits.ts'

export const AGENTS_TOPIC = '/kith/agents/1'

const TOPIC = /^\/kith\/agents\/1(?:\/[a-z0-9][a-z0-9._-]*)?$/

/** Whether a name on the wire is one of ours. Its characters are ASCII: so many characters, so many bytes. */
export const isTopic = (topic: string): boolean => topic.length <= MAX_TOPIC_BYTES && TOPIC.test(topic)

/** Full name of a topic by its short name; '' is the one of all agents. @throws BAD_TOPIC */
export function topicOf(name: string): string {
  const topic = name === '' ? AGENTS_TOPIC : `${AGENTS_TOPIC}/${name}`
  if (isTopic(topic)) return topic
  throw new KithError(
    'BAD_TOPIC',
    'not a name for a topic',
    { length: name.length },
    { hint: 'lower-case letters, digits, dot, dash and underscore' }
  )
}

/** Short name of a topic that `topicOf` made. */
export const nameOfTopic = (topic: string): string => topic.slice(AGENTS_TOPIC.length + 1)
