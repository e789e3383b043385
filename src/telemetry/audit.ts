/** The audit log: one event for every API call, granted, refused or failed (kes-api.md 2, kes-dialects.md). */

import { quote } from '../json.ts'
import type { Relay } from './relay.ts'
import type { LineSink } from './sink.ts'
import { EventStream } from './stream.ts'

export interface AuditEvent {
  /** Milliseconds since 1970, when the answer was ready. */
  readonly time: number
  /** Decoded, without query; the request's target where it could not be decoded. */
  readonly path: string
  readonly ip: string
  /** '' for a caller without one. */
  readonly identity: string
  /** Of the TLS proxy that the call came through. */
  readonly proxy?: string | undefined
  /** '' for the server itself. */
  readonly enclave: string
  readonly status: number
  /** Milliseconds. */
  readonly took: number
}

/** One for the life of a server: those who follow it, and the count, outlive a change of its settings. */
export class AuditLog {
  readonly stream: EventStream
  #sink: LineSink | undefined
  /** Events written to any target. */
  events = 0

  /** @param sink where each event goes as a line; absent: only to followers of the stream. */
  constructor(sink?: LineSink, relay?: Relay) {
    this.#sink = sink
    this.stream = new EventStream('audit', relay)
  }

  /** @param sink as for the constructor */
  configure(sink: LineSink | undefined): void {
    this.#sink = sink
  }

  /** Whether anybody would see an event; if not, none need be made. @param stream of the event's realm */
  isOn(stream = this.stream): boolean {
    return this.#sink !== undefined || stream.hasFollowers
  }

  /** @param stream of the event's realm: an enclave's events are nobody else's to follow */
  write(event: AuditEvent, stream = this.stream): void {
    const line = format(event)
    this.events++
    this.#sink?.write(line)
    stream.publish(line)
  }
}

/** In nanoseconds: clients read `response.time` as such. */
function format({ time, path, ip, identity, proxy, enclave, status, took }: AuditEvent): string {
  const caller = identity === '' ? '' : `,"identity":"${identity}"`
  const who = proxy === undefined ? caller : `${caller},"proxy":"${proxy}"`
  const tenant = enclave === '' ? '' : `,"enclave":"${enclave}"`
  const where = ip === '' ? '' : `"ip":${quoted(ip)},`
  return (
    `{"time":"${iso(time)}","request":{${where}"path":${quoted(path)}${who}${tenant}},` +
    `"response":{"code":${status},"time":${Math.round(took * 1e6)}}}\n`
  )
}

let second = Number.NaN
let prefix = ''

/** As `Date.toISOString`, of which a second's lines share all but the end. @param time whole milliseconds since 1970 */
function iso(time: number): string {
  const millis = time % 1000
  if (time - millis !== second) {
    second = time - millis
    prefix = new Date(second).toISOString().slice(0, -4)
  }
  return `${prefix}${millis < 10 ? '00' : millis < 100 ? '0' : ''}${millis}Z`
}

/** As `quote`, which most texts need not go through. */
function quoted(text: string): string {
  return PLAIN.test(text) ? `"${text}"` : quote(text)
}

const PLAIN = /^[\w\-./:~%*]*$/
