/** Text in the columns of a terminal: what is wide, what is cut, and what must not reach the terminal as it is. */

import stringWidth from 'string-width'

const graphemes = new Intl.Segmenter()

/**
 * Text of others without characters that steer the terminal or turn the writing direction: they are spelled out.
 * A line of it stays a line.
 */
export function harmless(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu,
    (char) => `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`,
  )
}

/** Cut to at most so many columns; the last one shows that something is missing. */
export function cut(text: string, columns: number): string {
  if (stringWidth(text) <= columns) return text
  let kept = ''
  let width = 0
  for (const { segment } of graphemes.segment(text)) {
    width += stringWidth(segment)
    if (width >= columns) break
    kept += segment
  }
  return columns < 1 ? '' : `${kept}…`
}

/** Exactly so many columns. */
export function fit(text: string, columns: number): string {
  const kept = cut(text, columns)
  return kept + ' '.repeat(Math.max(0, columns - stringWidth(kept)))
}

export interface Size {
  readonly columns: number
  readonly rows: number
}

/** Of the terminal that a stream writes to; of one that does not tell, the usual one. */
export function sizeOf({ columns, rows }: NodeJS.WriteStream): Size {
  return { columns: columns > 0 ? columns : 80, rows: rows > 0 ? rows : 24 }
}
