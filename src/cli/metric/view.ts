/** The live view of a server's metrics: what stands on the screen, as lines of text that fit into it. */

import { cut, fit, harmless, type Size } from '../columns.ts'
import { bytes, span, took } from '../figures.ts'
import type { Paint } from '../output.ts'
import type { Figures } from './rates.ts'

export interface View {
  readonly server: string
  /** Milliseconds between two looks. */
  readonly rate: number
  readonly time: Date
  /** Of the last look that there was an answer to. */
  readonly figures: Figures | undefined
  /** Why there is no answer just now. */
  readonly trouble: string | undefined
  /** Requests per second, oldest first; undefined where there was no answer. */
  readonly history: readonly (number | undefined)[]
}

const LABEL = 12

/** At most as many lines as there are rows, each at most as wide as the screen. */
export function screen(view: View, { columns, rows }: Size, paint: Paint): string[] {
  const { server, rate, time, trouble } = view
  const clock = `every ${took(rate)}  ${time.toTimeString().slice(0, 8)}`
  const title = fit(`KES  ${harmless(server)}`, Math.max(0, columns - clock.length - 2))
  const lines = [paint('bold', cut(`${title}  ${clock}`, columns)), '']
  if (trouble !== undefined)
    lines.push(paint('red', cut(`No answer: ${harmless(trouble)}`, columns)), '')
  for (const { label, text, style } of rowsOf(view, columns)) {
    const value = cut(text, columns - LABEL)
    const shown = style === undefined || trouble !== undefined ? value : paint(style, value)
    lines.push(fit(label, Math.min(LABEL, columns)) + shown)
  }
  return lines.slice(0, Math.max(1, rows))
}

interface Row {
  readonly label: string
  readonly text: string
  readonly style?: 'green' | 'yellow' | 'red'
}

function rowsOf({ figures, history, rate }: View, columns: number): Row[] {
  if (figures === undefined) return [{ label: 'Requests', text: 'being counted …' }]
  const { requests, errors, failures, latency, cachedKeys, cacheHits, resident } = figures
  const wide = Math.max(0, columns - LABEL)
  const shown = history.slice(-wide)
  const share = (part: number): string =>
    requests > 0 ? `  ${((part / requests) * 100).toFixed(1)} %` : ''
  const row = (label: string, text: string): Row => ({ label, text })
  return [
    row('Requests', `${perSecond(requests)}  ${figures.active} running`),
    row('', sparkline(shown)),
    row('', `the last ${span((shown.length * rate) / 1000)}, up to ${perSecond(greatest(shown))}`),
    { ...row('4xx', perSecond(errors) + share(errors)), ...(errors > 0 && { style: 'yellow' }) },
    { ...row('5xx', perSecond(failures) + share(failures)), ...(failures > 0 && { style: 'red' }) },
    row(
      'Latency',
      `p50 ${millis(latency.p50)}  p90 ${millis(latency.p90)}  p99 ${millis(latency.p99)}`,
    ),
    row(
      'Memory',
      `${bytes(figures.heapUsed)} heap${resident === undefined ? '' : `, ${bytes(resident)} in all`}`,
    ),
    ...(figures.isKeyStoreUp === undefined ? [] : [keyStoreRow(figures.isKeyStoreUp)]),
    ...(cachedKeys === undefined
      ? []
      : [row('Cache', `${cachedKeys} keys${cacheHits === undefined ? '' : hitText(cacheHits)}`)]),
    row('Up', span(figures.uptime)),
  ]
}

function keyStoreRow(isUp: boolean): Row {
  return isUp
    ? { label: 'Keystore', text: 'reachable', style: 'green' }
    : { label: 'Keystore', text: 'unreachable', style: 'red' }
}

function hitText(share: number): string {
  return `, ${(share * 100).toFixed(1)} % of the keys needed were there`
}

function perSecond(count: number): string {
  return `${count.toFixed(count < 100 ? 1 : 0)}/s`
}

/** The histogram begins at 10 ms: below that it knows no difference. */
const FINEST = 10

function millis(value: number | undefined): string {
  if (value === undefined) return '-'
  return value < FINEST ? `<${FINEST}ms` : took(value)
}

function greatest(values: readonly (number | undefined)[]): number {
  return Math.max(0, ...values.map((value) => value ?? 0))
}

const BARS = '▁▂▃▄▅▆▇█'

/** One character per value, the greatest a full bar; a blank where there is none. */
export function sparkline(values: readonly (number | undefined)[]): string {
  const top = greatest(values)
  return values
    .map((value) => {
      if (value === undefined) return ' '
      const height = top > 0 ? Math.round((value / top) * (BARS.length - 1)) : 0
      return BARS[height] ?? ' '
    })
    .join('')
}
