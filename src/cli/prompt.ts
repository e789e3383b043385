/** Questions to the person at the terminal. They go to standard error: standard output is for results. */

import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'

import { CommandError } from './command.ts'

export interface Ask {
  /** @param preset what an empty answer stands for; shown behind the question */
  line(question: string, preset?: string): Promise<string>
  /** What is typed is not shown. */
  password(question: string): Promise<string>
}

const INTERRUPTED = 130

/** Whether there is somebody to ask. */
export function canAsk(): boolean {
  return process.stdin.isTTY && process.stderr.isTTY
}

/**
 * Asks one question after the other. Answers that arrive before their question, as pasted ones do, are kept for it.
 *
 * @throws CommandError when the input ends; Ctrl-C ends the process
 */
export async function asking<T>(questions: (ask: Ask) => Promise<T>): Promise<T> {
  let isSilent = false
  const output = new Writable({
    write: (chunk: Buffer, _, done) => {
      if (!isSilent) process.stderr.write(chunk)
      done()
    },
  })
  const terminal = createInterface({ input: process.stdin, output, terminal: true })
  terminal.on('SIGINT', () => {
    terminal.close()
    process.stderr.write('\n')
    process.exit(INTERRUPTED)
  })
  const lines = terminal[Symbol.asyncIterator]()
  const next = async (question: string): Promise<string> => {
    terminal.setPrompt(question)
    terminal.prompt()
    const { value, done } = await lines.next()
    if (done === true) throw new CommandError('no answer; nothing was done')
    return value
  }
  try {
    return await questions({
      line: async (question, preset) => {
        const answer = await next(`${question}${preset === undefined ? '' : ` [${preset}]`}: `)
        return answer.trim() || (preset ?? '')
      },
      password: async (question) => {
        process.stderr.write(`${question}: `)
        isSilent = true
        try {
          return await next('')
        } finally {
          isSilent = false
          process.stderr.write('\n')
        }
      },
    })
  } finally {
    terminal.close()
  }
}
