/** What a server process uses, seen from outside. */

import { readdirSync, readFileSync } from 'node:fs'

/** Of a running server. Bytes and milliseconds. */
export interface Sample {
  readonly rss: number
  readonly descriptors: number
  /** Sockets, pipes and the like that are open. */
  readonly handles: number
  /** Median delay of its event loop since the sample before. */
  readonly delay: number
}

export function residentSize(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return Number(kilobytes) * 1024
}

export function openDescriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length
}

/** @param metrics with the process's own families, asked for since the sample before by nobody else */
export function sampleOf(pid: number, metrics: string): Sample {
  return {
    rss: residentSize(pid),
    descriptors: openDescriptors(pid),
    handles: figure(metrics, 'nodejs_active_handles_total'),
    delay: figure(metrics, 'nodejs_eventloop_lag_p50_seconds') * 1000,
  }
}

export function figure(metrics: string, family: string): number {
  const value = new RegExp(`^${family} (\\S+)$`, 'm').exec(metrics)?.[1]
  if (value === undefined) throw new Error(`no ${family} among the metrics`)
  return Number(value)
}

/** The value that a quarter of them do not exceed: bursts of load leave it where it is, a leak does not. */
export function lowerQuartile(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 4)] ?? Number.NaN
}
