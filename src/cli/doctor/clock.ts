/** Whether this machine and a server agree about the time, by the header `Date` of its answers: a second more or less. */

import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'

import { span } from '../figures.ts'
import { type Finding, fail, ok, warn } from './finding.ts'

/** Milliseconds. Tokens and signatures are refused by most services from five minutes on. */
const TOO_FAR = 300_000
const NOTEWORTHY = 30_000
const LIMIT = 5000

/** @param ahead milliseconds that the other clock is ahead of ours; negative: behind */
export function judgeClock(whose: string, ahead: number): Finding {
  const apart = Math.abs(ahead)
  if (apart < NOTEWORTHY) return ok('clock', `agrees with ${whose}`)
  const what = `${whose} is ${span(apart / 1000)} ${ahead > 0 ? 'ahead of' : 'behind'} this machine`
  const mend = 'synchronise both clocks (NTP): tokens, signatures and certificates depend on them'
  return apart < TOO_FAR ? warn('clock', what, mend) : fail('clock', what, mend)
}

/**
 * How far the clock of a server is ahead of ours, in milliseconds; undefined when its answer does not tell.
 *
 * @param date the header @param begin by our clock, when it was asked @param end when it answered
 */
export function clockAhead(
  date: string | undefined,
  begin: number,
  end: number,
): number | undefined {
  const theirs = Date.parse(date ?? '')
  // The header has whole seconds.
  return Number.isNaN(theirs) ? undefined : theirs + 500 - (begin + end) / 2
}

/** The same of whoever answers at a URL, whatever the answer is; undefined also when there is none. */
export function askClock(url: URL, signal: AbortSignal): Promise<number | undefined> {
  const begin = Date.now()
  return new Promise((resolve) => {
    const request = (url.protocol === 'http:' ? httpRequest : httpsRequest)(url, {
      method: 'HEAD',
      agent: false,
      signal: AbortSignal.any([signal, AbortSignal.timeout(LIMIT)]),
      // Nothing but the time is taken from it; opening the keystore has verified whom we speak to.
      rejectUnauthorized: false,
    })
    request.on('response', (response) => {
      response.destroy()
      resolve(clockAhead(response.headers.date, begin, Date.now()))
    })
    request.on('error', () => resolve(undefined))
    request.end()
  })
}
