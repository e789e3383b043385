/**
 * The error log: leveled lines for operators, as text in the manner of Go's slog or as JSON, and a stream of
 * events for those who follow it over the API.
 */

import { quote, stringify, unicodeEscape } from '../json.ts'
import type { Relay } from './relay.ts'
import type { LineSink } from './sink.ts'
import { EventStream } from './stream.ts'

/** As in Go's slog; numbers between are allowed. */
export const LEVELS = { DEBUG: -4, INFO: 0, WARN: 4, ERROR: 8 } as const
export type Level = keyof typeof LEVELS
export type LogFormat = 'text' | 'json'

/** Names and values beside the message; undefined ones are left out. */
export type Attributes = Readonly<Record<string, string | number | undefined>>

export interface LogSettings {
  /** Lines below it are not written; Infinity writes none. */
  readonly threshold: number
  readonly format: LogFormat
}

/** One for the life of a server: those who follow it, and the count, outlive a change of its settings. */
export class ErrorLog {
  readonly stream: EventStream
  readonly #sink: LineSink
  #settings: LogSettings
  /** Events of failed calls, whoever sees them. */
  events = 0

  constructor(sink: LineSink, settings: LogSettings, relay?: Relay) {
    this.#sink = sink
    this.stream = new EventStream('error', relay)
    this.#settings = settings
  }

  configure(settings: LogSettings): void {
    this.#settings = settings
  }

  /** One line for the operator. */
  write(level: Level, message: string, attributes: Attributes = {}): void {
    const { threshold, format } = this.#settings
    if (LEVELS[level] < threshold) return
    this.#sink.write(
      format === 'json'
        ? jsonLine(level, message, attributes)
        : textLine(level, message, attributes),
    )
  }

  /** A line, and an event for those who follow the log. */
  event(level: Level, message: string, attributes: Attributes): void {
    this.events++
    this.write(level, message, attributes)
    if (this.stream.hasFollowers) {
      this.stream.publish(`{"message":${quote(textLine(level, message, attributes).trimEnd())}}\n`)
    }
  }
}

function jsonLine(level: Level, message: string, attributes: Attributes): string {
  return `${stringify({ time: new Date().toISOString(), level, msg: message, ...attributes })}\n`
}

function textLine(level: Level, message: string, attributes: Attributes): string {
  let line = `time=${new Date().toISOString()} level=${level} msg=${value(message)}`
  for (const [name, attribute] of Object.entries(attributes)) {
    if (attribute !== undefined) line += ` ${name}=${value(String(attribute))}`
  }
  return `${line}\n`
}

/** Quoted when it could be mistaken for something else, so that a line stays a line, also on a terminal. */
function value(text: string): string {
  return /^[^\s"=\p{C}]+$/u.test(text)
    ? text
    : JSON.stringify(text).replace(/[\p{C}\u2028\u2029]/gu, unicodeEscape)
}
