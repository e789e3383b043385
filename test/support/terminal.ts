/** A command in a terminal: script(1) of util-linux makes a pseudo-terminal for it. */

import { execFileSync, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import { eventually, MAIN, type RunOptions } from './process.ts'
import { type Owner, tempDir } from './server.ts'
import { findTool } from './tools.ts'

export interface Size {
  readonly columns: number
  readonly rows: number
}

export interface Terminal {
  /** What the terminal shows; resolves when `text` is there, behind what was waited for before. */
  see(text: string): Promise<void>
  type(text: string): void
  /** As if somebody pulled at the window's corner. */
  resize(size: Size): void
  /** Everything so far, with the control sequences. */
  screen(): string
  /** The command's exit code. */
  readonly exited: Promise<number | null>
}

interface TerminalOptions extends RunOptions {
  readonly size?: Size
}

export function kesInTerminal(
  t: Owner,
  args: readonly string[],
  { env, cwd, size = { columns: 80, rows: 24 } }: TerminalOptions = {},
): Terminal {
  const tty = join(tempDir(t), 'tty')
  const command = [process.execPath, MAIN, ...args].map((word) => `'${word}'`).join(' ')
  const script = `tty > '${tty}'; stty ${sizeWords(size).join(' ')}; exec ${command}`
  const child = spawn(findTool('script') ?? '', ['-qefc', script, '/dev/null'], {
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
    resize: (size) => {
      const device = readFileSync(tty, 'utf8').trim()
      execFileSync('stty', ['-F', device, ...sizeWords(size)])
    },
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

function sizeWords({ columns, rows }: Size): string[] {
  return ['columns', String(columns), 'rows', String(rows)]
}
