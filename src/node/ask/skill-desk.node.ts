/** Programs that work for peers, for as long as they are served. */
import type { Presence } from '../../agents/handlers.ts'
import { findProgram, sweepRuns } from '../../agents/leash.node.ts'
import { runProgram } from '../../agents/program-agent.node.ts'
import type { Tasks } from '../../agents/types.ts'
import { hasCode, KithError } from '../../base/errors.ts'
import type { EntityId } from '../../messaging/types.ts'
import type { ServeSkillRequest, SkillView } from '../ask-types.ts'

export interface SkillDeskDeps {
  readonly tasks: Tasks
  readonly presence: Presence
  /** The record that others find is to be made anew. */
  readonly announce: () => Promise<void>
  /** Where programs run. */
  readonly folder: string
}

interface Served {
  readonly request: ServeSkillRequest
  readonly handle: AsyncDisposable
}

export class SkillDesk {
  readonly #deps: SkillDeskDeps
  readonly #served = new Map<string, Served>()

  constructor(deps: SkillDeskDeps) {
    this.#deps = deps
    // The last node may have been killed.
    sweepRuns(deps.folder)
  }

  all(): SkillView[] {
    return [...this.#served.keys()].map(name => this.#view(name))
  }

  /** @throws SKILL_EXISTS, FILE_NOT_FOUND */
  async serve(request: ServeSkillRequest): Promise<SkillView> {
    if (this.#served.has(request.name))
      throw new KithError(
        'SKILL_EXISTS',
        'this skill is served already',
        { skill: request.name },
        { hint: `kith agent stop ${request.name}` }
      )
    const [program = ''] = request.command
    if (!findProgram(program, request.cwd ?? process.cwd(), process.env['PATH']))
      throw new KithError('FILE_NOT_FOUND', `there is no program ${program}`, {}, { hint: 'give its path, or a name that is in PATH' })
    const { name, description = '', concurrency = 1 } = request
    const run = runProgram(request.command, {
      folder: this.#deps.folder,
      ...(request.cwd === undefined ? {} : { cwd: request.cwd }),
      ...(request.timeoutMs === undefined ? {} : { timeoutMs: request.timeoutMs })
    })
    const handle = await this.#deps.tasks.serveSkill({ name, description, concurrency, run })
    this.#served.set(name, { request, handle })
    await this.#deps.announce()
    return this.#view(name)
  }

  /** @throws UNKNOWN_SKILL */
  async stop(name: string): Promise<SkillView> {
    const served = this.#served.get(name)
    if (!served) throw new KithError('UNKNOWN_SKILL', 'this skill is not served here', { skill: name })
    const view = this.#view(name)
    this.#served.delete(name)
    await served.handle[Symbol.asyncDispose]()
    await this.#deps.announce()
    return view
  }

  /** The skill of a peer that has one. @throws NO_SUCH_SKILL */
  async onlySkillOf(peer: EntityId, signal?: AbortSignal): Promise<string> {
    const { skills } = await this.#deps.presence.askCapabilities(peer, signal).catch((cause: unknown) => {
      if (!hasCode(cause, 'NO_ANSWER')) throw cause
      const hint = 'name the skill with --skill: then the task waits on this disk until they are back'
      throw new KithError('PEER_UNREACHABLE', 'they do not answer now, so that it is not known what they can do', {}, { cause, hint })
    })
    const names = skills.map(s => s.name)
    if (names.length === 1) return names[0]!
    const why = names.length === 0 ? 'this peer serves no skills' : `this peer has several skills: ${names.slice(0, 20).join(', ')}`
    throw new KithError('NO_SUCH_SKILL', why, {}, { hint: 'name one with --skill' })
  }

  #view(name: string): SkillView {
    const own = this.#deps.tasks.skills().find(s => s.name === name)
    const { request } = this.#served.get(name)!
    return {
      name,
      description: request.description ?? '',
      command: request.command,
      concurrency: own?.concurrency ?? request.concurrency ?? 1,
      running: own?.running ?? 0
    }
  }
}
