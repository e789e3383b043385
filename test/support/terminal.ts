/** A command in a terminal: script(1) of util-linux makes a pseudo-terminal for it. */

import { spawn } from 'node:child_process'

import { eventually, MAIN, type RunOptions } from './process.ts'
import type { Owner } from './server.ts'
import { findTool } from './tools.ts'

export interface Terminal {
  /** What the terminal shows; resolves when `text` is there, behind what was waited for before. */
  see(text: string): Promise<void>
  type(text: string): void
  /** Everything so far, with the control sequences. */
  screen(): string
  /** The command's exit code. */
  readonly exited: Promise<number | null>
}

export function kesInTerminal(
  t: Owner,
  args: readonly string[],
  { env, cwd }: RunOptions = {},
): Terminal {
  const command = [process.execPath, MAIN, ...args].map((word) => `'${word}'`).join(' ')
  const child = spawn(findTool('script') ?? '', ['-qefc', command, '/dev/null'], {
    env: { ...process.env, ...env },
    ...(cwd !== undefined && { cwd }),
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  let shown = ''
  let from = 0
  child.stdout.setEncoding('utf8').on('data', (text: string) => (shown += text))
  const exited = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', resolve)
  })
  t.after(() => {
    child.kill('SIGKILL')
    return exited.then(() => {})
  })
  return {
    exited,
    screen: () => shown,
    type: (text) => void child.stdin.write(text),
    see: async (text) => {
      const at = await eventually(
        `the terminal shows '${text}'`,
        () => {
          const found = shown.indexOf(text, from)
          return found < 0 ? undefined : found
        },
        exited,
      )
      from = at + text.length
    },
  }
}
