/**
 * CLI sessions: what somebody types, and what they see. One file is one session:
 *
 *     # A comment: at the head of the file, or behind a blank line.
 *     @server                       the session needs a server (below); at the head of the file
 *     $ kes key create my-key       a command for sh; the next lines are what it writes
 *     a line of standard output
 *     ! a line of standard error
 *     exit 1                        its exit code; 0 if left out
 *
 * Blank lines at the end of a command's output only part it from the next. In expected lines `<<date>>` stands for
 * anything of that kind (KINDS), `<<name=date>>` also keeps it as $name for later commands, `<<$name>>` is the value
 * of a variable, and a line `...` is any number of lines.
 */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'

import { ApiKey } from '#src/crypto/identity.js'
import { VERSION } from '#src/version.js'
import { MAIN } from './process.ts'
import { freePorts } from './program.ts'
import { type Owner, people, startServer, tempDir } from './server.ts'

export interface Step {
  /** 1 is the first of the file. */
  readonly line: number
  readonly command: string
  readonly stdout: string[]
  readonly stderr: string[]
  exit: number
}

export interface Session {
  readonly needsServer: boolean
  readonly steps: readonly Step[]
}

const SERVER = '@server'
/** An identity that nobody has the key of. */
const SHORT = '5'.repeat(64)

const KINDS: Readonly<Record<string, string>> = {
  any: '.*',
  'api-key': 'kes:v1:[A-Za-z0-9+/]{44}',
  base64: '[A-Za-z0-9+/]+={0,2}',
  date: '\\d{4}-\\d{2}-\\d{2}[T ]\\d{2}:\\d{2}:\\d{2}(?:\\.\\d+)?Z?',
  identity: '[0-9a-f]{64}',
}

/** @param file for messages */
export function parseSession(text: string, file: string): Session {
  const steps: Step[] = []
  let needsServer = false
  let mayComment = true
  for (const [index, line] of text.trimEnd().split('\n').entries()) {
    const step = steps.at(-1)
    const isComment: boolean = mayComment && line.startsWith('#')
    mayComment = isComment || line === '' || line === SERVER
    if (line.startsWith('$ ')) {
      steps.push({ line: index + 1, command: line.slice(2), stdout: [], stderr: [], exit: 0 })
    } else if (isComment) continue
    else if (step === undefined && line === SERVER) needsServer = true
    else if (step === undefined) {
      assert.equal(line, '', `line ${index + 1} of ${file} is before the first command`)
    } else if (line.startsWith('exit ')) step.exit = Number(line.slice(5))
    else if (line.startsWith('! ') || line === '!') step.stderr.push(line.slice(2))
    else step.stdout.push(line)
  }
  for (const { stdout } of steps) while (stdout.at(-1) === '') stdout.pop()
  return { needsServer, steps }
}

/**
 * Plays a session in a directory of its own.
 *
 * With `@server` there is a server with keys in memory, and $KES_SERVER, $KES_CA and $KES_API_KEY name it and its
 * admin; $USER_API_KEY may do everything to keys that begin with `user-` but delete `user-keep`; $NOBODY_API_KEY has
 * no policy; $ADMIN, $USER and $NOBODY are their identities; $SHORT is one with the policy `short`. $SERVER and $CA are
 * for sessions that unset the others; $DEAD_SERVER is where nobody listens; $OTHER_CA has nothing to do with the server.
 */
export async function play(t: Owner, { needsServer, steps }: Session): Promise<void> {
  const cwd = tempDir(t)
  // Nobody listens there any more: it was free a moment ago.
  const [dead] = await freePorts(1)
  const env: Record<string, string> = {
    ...cleanEnvironment(),
    PATH: `${commandDirectory(t)}${delimiter}${process.env['PATH'] ?? ''}`,
    HOME: cwd,
    VERSION,
    DEAD_SERVER: `https://127.0.0.1:${dead}`,
    ...(needsServer && (await serverEnvironment(t))),
  }
  for (const step of steps) {
    const seen = await run(step.command, cwd, env)
    const place = `line ${step.line}: $ ${step.command}`
    const whole = `${place}\nstdout:\n${seen.stdout}\nstderr:\n${seen.stderr}`
    Object.assign(env, compare(seen.stdout, step.stdout, env, `stdout of ${whole}`))
    Object.assign(env, compare(seen.stderr, step.stderr, env, `stderr of ${whole}`))
    assert.equal(seen.code, step.exit, `exit code of ${whole}`)
  }
}

/** @returns the variables that the expected lines ask to keep */
function compare(
  seen: string,
  expected: readonly string[],
  env: Readonly<Record<string, string>>,
  message: string,
): Record<string, string> {
  const names: string[] = []
  const pattern = expected.map((line) =>
    line === '...'
      ? '(?:.*\\n)*?'
      : `${line.replace(/<<(?:(\w+)=)?([$\w-]+)>>|[^<]+|</g, (text, name, kind) => {
          if (kind === undefined) return escape(text)
          if (kind.startsWith('$')) {
            const at = names.indexOf(kind.slice(1))
            if (at >= 0) return `(?:\\${at + 1})`
            return escape(env[kind.slice(1)] ?? assert.fail(`no ${kind}`))
          }
          if (name !== undefined) names.push(name)
          const regex = KINDS[kind] ?? assert.fail(`no kind <<${kind}>>`)
          return name === undefined ? regex : `(${regex})`
        })}\\n`,
  )
  const match = new RegExp(`^${pattern.join('')}$`).exec(seen)
  // The texts are not equal where a placeholder stands; where the difference is, can be seen nevertheless.
  if (match === null) assert.equal(seen, `${expected.join('\n')}\n`, message)
  return Object.fromEntries(names.map((name, index) => [name, match?.[index + 1] ?? '']))
}

function escape(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')
}

interface Seen {
  readonly stdout: string
  readonly stderr: string
  readonly code: number | null
}

function run(command: string, cwd: string, env: Record<string, string>): Promise<Seen> {
  const child = spawn('sh', ['-c', command], { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
  const output = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const)
    child[name].setEncoding('utf8').on('data', (text: string) => (output[name] += text))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => resolve({ ...output, code }))
  })
}

/** Whatever the developer has set for a server of their own. */
function cleanEnvironment(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).filter(
      (entry): entry is [string, string] => !/^(?:MINIO_)?KES_|^NO_COLOR$/.test(entry[0]),
    ),
  )
}

/** A directory with the command `kes`. */
function commandDirectory(t: Owner): string {
  const directory = join(tempDir(t), 'bin')
  mkdirSync(directory)
  const script = `#!/bin/sh\nexec '${process.execPath}' '${MAIN}' "$@"\n`
  writeFileSync(join(directory, 'kes'), script, { mode: 0o755 })
  return directory
}

async function serverEnvironment(t: Owner): Promise<Record<string, string>> {
  const [admin, user, nobody] = [ApiKey.generate(), ApiKey.generate(), ApiKey.generate()]
  const server = await startServer(t, {
    admin: admin.identity,
    config: readFileSync('test/cli/policies.yml', 'utf8')
      .replace('${USER}', user.identity)
      .replace('${SHORT}', SHORT),
  })
  const other = join(server.directory, 'other.cert')
  writeFileSync(other, (await people()).nobody.cert)
  const [url, ca] = [`https://127.0.0.1:${server.port}`, join(server.directory, 'server.cert')]
  return {
    KES_SERVER: url,
    SERVER: url,
    KES_CA: ca,
    CA: ca,
    KES_API_KEY: admin.reveal(),
    USER_API_KEY: user.reveal(),
    NOBODY_API_KEY: nobody.reveal(),
    ADMIN: admin.identity,
    USER: user.identity,
    NOBODY: nobody.identity,
    SHORT,
    OTHER_CA: other,
  }
}
