/** `kes completion`: the scripts, run by the shells that they are for. */

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'

import { kes } from '../support/process.ts'
import { tempDir } from '../support/server.ts'
import { findTool, without } from '../support/tools.ts'

/** What the shell offers behind each of these lines, in a directory with a `config.yml`. */
const LINES: readonly (readonly [line: string, offers: readonly string[]])[] = [
  ['kes up', ['update']],
  ['kes identity n', ['new']],
  ['kes config c', ['check']],
  ['kes identity new --e', ['--encrypt', '--expiry']],
  ['kes identity new --expiry 1h --enc', ['--encrypt']],
  ['kes config check --color ', ['always', 'auto', 'never']],
  ['kes server --auth o', ['off', 'on']],
  ['kes completion ', ['bash', 'fish', 'zsh']],
  ['kes config check conf', ['config.yml']],
  ['kes server --lenient --config conf', ['config.yml']],
  ['kes update conf', []],
  ['kes identity new --expiry conf', []],
]

async function script(t: TestContext, shell: string): Promise<{ path: string; cwd: string }> {
  const cwd = tempDir(t)
  writeFileSync(join(cwd, 'config.yml'), '')
  const path = join(tempDir(t), 'script')
  writeFileSync(path, (await kes(t, ['completion', shell])).stdout)
  return { path, cwd }
}

/** What the script sets COMPREPLY to. @param words as bash itself parts them: the last one may be empty */
function bash(path: string, cwd: string, words: readonly string[]): string[] {
  const program = `source "$1"; shift; COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _kes
    printf '%s\\n' "\${COMPREPLY[@]}"`
  const args = ['--norc', '-c', program, 'bash', path, ...words]
  return execFileSync(findTool('bash') ?? '', args, { cwd, encoding: 'utf8' })
    .split('\n')
    .filter(Boolean)
}

test('the script for bash completes', { skip: without('bash') }, async (t) => {
  const { path, cwd } = await script(t, 'bash')
  for (const [line, offers] of LINES)
    assert.deepEqual(bash(path, cwd, line.split(' ')).sort(), [...offers].sort(), line)
})

test(
  'the script for bash completes behind an equals sign, too',
  { skip: without('bash') },
  async (t) => {
    const { path, cwd } = await script(t, 'bash')
    // bash parts words at '='.
    assert.deepEqual(bash(path, cwd, ['kes', 'update', '--color', '=', 'n']), ['never'])
    assert.deepEqual(bash(path, cwd, ['kes', 'update', '--color', '=']), [
      'auto',
      'never',
      'always',
    ])
  },
)

test(
  'the script for bash keeps file names with spaces whole',
  { skip: without('bash') },
  async (t) => {
    const { path, cwd } = await script(t, 'bash')
    writeFileSync(join(cwd, 'my own.yml'), '')
    assert.deepEqual(bash(path, cwd, ['kes', 'config', 'check', 'my']), ['my own.yml'])
  },
)

test('the script for fish completes', { skip: without('fish') }, async (t) => {
  const { path, cwd } = await script(t, 'fish')
  for (const [line, offers] of LINES) {
    const args = ['--no-config', '-c', 'source $argv[1]; complete -C $argv[2]', path, line]
    const env = { ...process.env, HOME: cwd }
    const seen = execFileSync(findTool('fish') ?? '', args, { cwd, env, encoding: 'utf8' })
    const words = seen
      .split('\n')
      .filter(Boolean)
      .map((offer) => offer.split('\t')[0] ?? '')
    assert.deepEqual(words.sort(), [...offers].sort(), line)
  }
})

/** zsh completes in a terminal only: this one is zsh's own. What is offered goes to the file $3. */
const ZSH = `
cat > $3.rc <<'END'
autoload -Uz compinit; compinit -u -D
source $SCRIPT
compadd() {
  # -A, -D and -O only ask what would match.
  if [[ \${@[1,(i)(-|--)]} != *-[ADO]\\ * ]]; then
    local -a __offers
    builtin compadd -A __offers "$@"
    print -rl -- $__offers >> $OFFERS
  fi
  builtin compadd "$@"
}
offer() { _main_complete; print DONE >> $OFFERS }
zle -C offer list-choices offer
bindkey '^I' offer
END
zmodload zsh/zpty
export SCRIPT=$1 OFFERS=$3
zpty z zsh -f -i
zpty -w z "source $3.rc; print REA''DY"
local line
while zpty -r z line; do [[ $line == *READY* ]] && break; done
zpty -w -n z "$2"$'\\t'
until grep -q DONE $3 2>/dev/null; do sleep 0.02; done
zpty -d z
`

test('the script for zsh completes', { skip: without('zsh') }, async (t) => {
  const { path, cwd } = await script(t, 'zsh')
  const program = join(tempDir(t), 'complete.zsh')
  writeFileSync(program, ZSH)
  for (const [line, offers] of LINES) {
    const env = { ...process.env, HOME: cwd, TERM: 'dumb' }
    const offered = join(tempDir(t), 'offers')
    const options = { cwd, env, timeout: 20_000 }
    execFileSync(findTool('zsh') ?? '', ['-f', program, path, line, offered], options)
    const words = readFileSync(offered, 'utf8').split('\n')
    assert.equal(words.pop(), '')
    assert.equal(words.pop(), 'DONE')
    assert.deepEqual(words.filter(Boolean).sort(), [...offers].sort(), line)
  }
})
