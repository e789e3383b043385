/** The head of an answer, prepared for both protocols: all of it but the length of the body and the date. */

import { PreparedField, UPDATE_ROOM, writeBytes } from './hpack-encoder.ts'
import { statusText } from './status.ts'

/** What `writeLength` and the date need. */
const LENGTH_ROOM = 3 + 16
const DATE_ROOM = 32

/** No line break, no NUL, and one byte per character: what ends a field early would begin another. */
const SAFE = /^[\t\x20-\x7e\x80-\xff]*$/

export interface AnswerFields {
  readonly status: number
  /** Content-Type. */
  readonly type?: string | undefined
  readonly headers: Readonly<Record<string, string>>
  /** The same head comes again and again, so HPACK's table may hold its fields. */
  readonly repeats: boolean
}

export class AnswerHead {
  readonly status: number
  readonly type: string | undefined
  /** The status first; without content-length and date. */
  readonly fields: readonly PreparedField[]
  /** Bytes that a header block of this head takes at most. */
  readonly blockLength: number
  readonly http1Start: string
  /** The lines between Content-Length and Date. */
  readonly http1Rest: string

  /** @throws Error when a field would break the head */
  constructor({ status, type, headers, repeats }: AnswerFields) {
    this.status = status
    this.type = type
    const lines = Object.entries(headers)
    if (type !== undefined) lines.unshift(['Content-Type', type])
    for (const [name, value] of lines) {
      if (!SAFE.test(name) || !SAFE.test(value)) throw new Error(`bug: a broken header: ${name}`)
    }
    this.fields = [
      new PreparedField(':status', String(status), repeats),
      ...lines.map(([name, value]) => new PreparedField(name.toLowerCase(), value, repeats)),
    ]
    this.blockLength = this.fields.reduce(
      (sum, { literal }) => sum + literal.length,
      UPDATE_ROOM + LENGTH_ROOM + DATE_ROOM,
    )
    this.http1Start = `HTTP/1.1 ${status} ${statusText(status)}\r\n`
    this.http1Rest = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')
  }
}

/** `content-length`, as a literal that no table keeps. @returns where it ended */
export function writeLength(target: Buffer, at: number, length: number): number {
  // Name 28 of the static table, in four bits.
  target[at] = 0x0f
  target[at + 1] = 0x0d
  const digits = String(length)
  target[at + 2] = digits.length
  for (let i = 0; i < digits.length; i++) target[at + 3 + i] = digits.charCodeAt(i)
  return at + 3 + digits.length
}

let second = 0
let date = ''
let dateField = new PreparedField('date', '', false)

/** The date of an answer, the same for a whole second. */
export function httpDate(): string {
  const now = Date.now()
  if (now - second >= 1000 || now < second) {
    second = now - (now % 1000)
    date = new Date(second).toUTCString()
    dateField = new PreparedField('date', date, false)
  }
  return date
}

/** As a field of a header block. @returns where it ended */
export function writeDate(target: Buffer, at: number): number {
  httpDate()
  return writeBytes(target, at, dateField.literal)
}
