/** `kes log`: follows a log of the server, as a table in a terminal, as tab-separated values in a pipe, or as JSON. */

import type { AuditEvent, KesClientError, LogOptions } from '../client/index.ts'
import { fit, harmless, sizeOf } from './columns.ts'
import { UsageError } from './command.ts'
import { attempt, type ConnectionOptions, withClient } from './connect.ts'
import { took } from './figures.ts'
import { untilInterrupted } from './interrupt.ts'
import { type OutputOptions, painter, print, say } from './output.ts'

interface FollowOptions extends ConnectionOptions {
  readonly audit?: boolean
  readonly error?: boolean
}

export async function follow(options: FollowOptions): Promise<void> {
  const { audit, error, json } = options
  if (audit === true && error === true) throw new UsageError('choose one of --audit and --error')
  const reconnect = ({ message }: KesClientError): void =>
    say(`The log is interrupted: ${message}; connecting again`)
  const showEvent = auditPrinter(options)
  await untilInterrupted((signal) =>
    withClient(options, async (client) => {
      const how: LogOptions = { signal, reconnect }
      if (error === true) {
        const events = await attempt('follow the error log', client.errorLog(how))
        for await (const { line, message } of events) print(json ? line : harmless(message))
      } else {
        const events = await attempt('follow the audit log', client.auditLog(how))
        for await (const event of events) {
          if (json === true) print(event.line)
          else showEvent(event)
        }
      }
    }),
  )
}

function auditPrinter(options: OutputOptions): (event: AuditEvent) => void {
  if (!process.stdout.isTTY) return (event) => print(fields(event).join('\t'))
  const paint = painter(options)
  let shown = ''
  return (event) => {
    const layout = layoutFor(sizeOf(process.stdout).columns)
    const header = row(layout, TITLES)
    // Once, and again when the columns have moved.
    if (header !== shown) print(paint('bold', header))
    shown = header
    const style = styleOf(event.status)
    print(
      row(layout, cells(event), (name, text) => (name === 'status' ? paint(style, text) : text)),
    )
  }
}

/** All of it: a script reads it. */
function fields({ time, status, ip, identity, path, took: nanos }: AuditEvent): string[] {
  const values = [time.toISOString(), String(status), ip, identity, path, took(nanos / 1e6)]
  return values.map((value) => harmless(value ?? '') || '-')
}

const WIDTHS = { time: 8, status: 4, ip: 15, identity: 12, path: 24, took: 6 }
type Column = keyof typeof WIDTHS
type Layout = Readonly<Partial<Record<Column, number>>>

const TITLES: Readonly<Record<Column, string>> = {
  time: 'Time',
  status: 'Code',
  ip: 'IP',
  identity: 'Identity',
  path: 'Path',
  took: 'Took',
}
/** Those that tell least give way where the terminal is narrow. */
const DISPENSABLE = ['identity', 'ip', 'took', 'time'] as const
const GAP = 2

/** The path has what the others leave. */
function layoutFor(columns: number): Layout {
  const layout: Partial<Record<Column, number>> = { ...WIDTHS }
  const spare = (): number =>
    Object.values(layout).reduce((rest, width) => rest - width - GAP, columns + GAP)
  for (const name of DISPENSABLE) if (spare() < 0) delete layout[name]
  return { ...layout, path: Math.max(1, WIDTHS.path + spare()) }
}

function row(layout: Layout, values: Readonly<Record<Column, string>>, paint = plain): string {
  return Object.entries(layout)
    .map(([name, width]) => paint(name, fit(values[name as Column], width)))
    .join(' '.repeat(GAP))
}

function plain(_name: string, text: string): string {
  return text
}

function cells({ time, status, ip, identity, path, took: nanos }: AuditEvent) {
  return {
    time: time.toTimeString().slice(0, 8),
    status: String(status),
    ip: harmless(ip ?? '-'),
    identity: harmless(identity ?? '-'),
    path: harmless(path),
    took: took(nanos / 1e6),
  }
}

function styleOf(status: number): 'green' | 'yellow' | 'red' {
  if (status < 400) return 'green'
  return status < 500 ? 'yellow' : 'red'
}
