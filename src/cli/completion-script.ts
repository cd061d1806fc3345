/** Completion scripts for bash, zsh and fish: subcommands and options of every command, and files where arguments are files. */
import type { Command } from 'commander'

export const shells = ['bash', 'zsh', 'fish'] as const

interface Node {
  /** Words after the program's name: [] is the program itself. */
  readonly path: readonly string[]
  readonly summary: string
  readonly children: readonly Node[]
  readonly options: readonly { readonly flag: string; readonly summary: string; readonly takesValue: boolean }[]
}

/** @param shell one of `shells` */
export function completionScript(program: Command, shell: string): string {
  const root = nodeOf(program, [], [])
  const nodes = flatten(root)
  if (shell === 'zsh') return zsh(root, nodes)
  return shell === 'fish' ? fish(nodes) : bash(nodes)
}

function nodeOf(command: Command, path: readonly string[], inherited: Node['options']): Node {
  const own = command.options
    .filter(o => o.long)
    .map(o => ({ flag: o.long!, summary: plain(o.description), takesValue: o.required || o.optional }))
  const options = [...own, ...inherited]
  const children = command.commands.map(c => nodeOf(c, [...path, c.name()], options))
  return { path, summary: plain(command.description()), children, options }
}

const flatten = (node: Node): Node[] => [node, ...node.children.flatMap(flatten)]
const plain = (text: string): string => text.replace(/['"`$\\:[\]]/g, '')
const key = (node: Node): string => node.path.join(' ')

/** The command that the words typed so far name, as a shell fragment for bash and zsh. */
function walk(nodes: readonly Node[]): string {
  const known = nodes.filter(n => n.path.length > 0).map(n => `'${key(n)}'`)
  return `  local path='' word
  for word in "\${typed[@]}"; do
    case "\${path:+$path }$word" in
      ${known.join('|')}) path="\${path:+$path }$word" ;;
    esac
  done`
}

function bash(nodes: readonly Node[]): string {
  const cases = nodes.map(n => {
    const words = [...n.children.map(c => c.path.at(-1)!), ...n.options.map(o => o.flag), '--help']
    return `    '${key(n)}') words='${words.join(' ')}' ;;`
  })
  return `# bash completion for kith
_kith() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" words=''
  local typed=("\${COMP_WORDS[@]:1:COMP_CWORD-1}")
${walk(nodes)}
  case "$path" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  if [ \${#COMPREPLY[@]} -eq 0 ]; then compopt -o default 2>/dev/null; fi
}
complete -F _kith kith
`
}

function zsh(root: Node, nodes: readonly Node[]): string {
  const cases = nodes.map(n => {
    const children = n.children.map(c => `'${c.path.at(-1)}:${c.summary}'`)
    const options = n.options.map(o => `'${o.flag}:${o.summary}'`)
    return `    '${key(n)}') commands=(${children.join(' ')}); options=(${options.join(' ')}) ;;`
  })
  return `#compdef kith
# zsh completion for kith: ${root.summary}
_kith() {
  local -a typed commands options
  typed=("\${(@)words[2,CURRENT-1]}")
${walk(nodes)}
  case "$path" in
${cases.join('\n')}
  esac
  (( \${#commands} )) && _describe 'command' commands
  _describe 'option' options
  (( \${#commands} )) || _files
}
compdef _kith kith
`
}

function fish(nodes: readonly Node[]): string {
  const lines = ['# fish completion for kith']
  for (const n of nodes) {
    const condition =
      n.path.length === 0 ? '__fish_use_subcommand' : `'${n.path.map(p => `__fish_seen_subcommand_from ${p}`).join('; and ')}'`
    const rest =
      n.path.length > 0 && n.children.length > 0
        ? condition.replace(/'$/, `; and not __fish_seen_subcommand_from ${n.children.map(c => c.path.at(-1)).join(' ')}'`)
        : condition
    if (n.children.length > 0) lines.push(`complete -c kith -n ${rest} -f`)
    for (const c of n.children) lines.push(`complete -c kith -n ${rest} -a ${c.path.at(-1)} -d '${c.summary}'`)
    for (const o of n.options)
      lines.push(`complete -c kith -n ${condition} -l ${o.flag.slice(2)}${o.takesValue ? ' -r' : ''} -d '${o.summary}'`)
  }
  return `${lines.join('\n')}\n`
}
