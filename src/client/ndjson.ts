/** Newline-delimited JSON, as the log streams speak it: lines out of chunks, whatever the chunks. */

import { parseJson } from './answers.ts'
import { AnswerError, ConnectionError, ServerError } from './errors.ts'
import { connectionError } from './failures.ts'
import type { Address } from './options.ts'
import type { HttpAnswer } from './transport.ts'

/** Bytes. Nobody's log has longer ones; without a limit a server could fill the memory. */
const LONGEST_LINE = 1_048_576

/**
 * The lines of an answer, as they come. Ends with the answer.
 *
 * @throws ConnectionError when it was cut; AnswerError for half a line at the end, or one that is too long;
 *   ServerError for a line `{"error":…}`, with which a server ends an answer that it cannot go on with
 */
export async function* readLines(
  answer: HttpAnswer,
  address: Address,
  longest = LONGEST_LINE,
): AsyncGenerator<string, void> {
  const { url } = address
  const lines = new LineSplitter()
  try {
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      for (const line of lines.push(chunk)) if (line.trim() !== '') yield checked(line, url)
      if (lines.size > longest) throw new AnswerError(url, `a line has more than ${longest} bytes`)
    }
  } catch (error) {
    if (error instanceof AnswerError || error instanceof ServerError) throw error
    throw connectionError(error, address, 'sent')
  }
  if (!answer.isWhole()) throw connectionError(undefined, address, 'sent')
  if (lines.end().trim() !== '') {
    throw new ConnectionError('closed', url, `${url}: the answer ends in the midst of a line`, {
      isUnprocessed: false,
    })
  }
}

function checked(line: string, url: string): string {
  const value = parseJson(url, line)
  if (typeof value !== 'object' || value === null) throw new AnswerError(url, 'a line is no object')
  const { error, ...others } = value as { readonly error?: unknown }
  if (typeof error === 'string' && Object.keys(others).length === 0) {
    throw new ServerError('FAILED', url, error, {})
  }
  return line
}

const LINE_FEED = 0x0a

/** Cuts a stream of bytes into lines. */
export class LineSplitter {
  #parts: Buffer[] = []
  #size = 0

  /** Bytes of the line that has not ended yet. */
  get size(): number {
    return this.#size
  }

  /** The lines that end in this chunk, without their line feeds. */
  push(chunk: Buffer): string[] {
    const lines: string[] = []
    let start = 0
    for (let end: number; (end = chunk.indexOf(LINE_FEED, start)) >= 0; start = end + 1) {
      this.#keep(chunk.subarray(start, end))
      lines.push(this.end())
    }
    this.#keep(chunk.subarray(start))
    return lines
  }

  /** What stands after the last line feed; '' when nothing was cut. */
  end(): string {
    const text = Buffer.concat(this.#parts).toString()
    this.#parts = []
    this.#size = 0
    return text
  }

  #keep(part: Buffer): void {
    if (part.length === 0) return
    this.#size += part.length
    this.#parts.push(part)
  }
}
