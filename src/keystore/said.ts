/** What services say about a failure, whichever client brings it, as far as it goes into our messages. */

/** How much of it. */
const MAX_QUOTE = 300

/** A status without an answer of the service itself: too many requests, or something between us and it. */
export function isNoAnswer(status: number | undefined): boolean {
  return status !== undefined && [408, 429, 502, 503, 504].includes(status)
}

/** A service's own words, in one line and not too many, without what was sent to it. */
export function quote(words: string, ...sent: readonly (string | undefined)[]): string {
  let line = words.replace(/\s+/g, ' ').trim()
  for (const text of sent) if (text !== undefined && text !== '') line = line.replaceAll(text, '…')
  return line.length > MAX_QUOTE ? `${line.slice(0, MAX_QUOTE)}…` : line
}
