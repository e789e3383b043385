/**
 * Patterns of the older generations: Go's path.Match. `*` is any text without `/`, `?` one character that is not
 * `/`, `[a-z]` and `[^a-z]` one of a class, `\` takes the meaning from the next character. The whole text must match.
 */

/** A class: ranges of code points, or everything but them. */
interface Class {
  readonly negated: boolean
  readonly ranges: readonly (readonly [low: number, high: number])[]
}

const ANY = '?'
type Token = number | typeof ANY | Class

/** Tokens that follow each other, behind a `*` or not. */
interface Chunk {
  readonly star: boolean
  readonly tokens: readonly Token[]
}

const SLASH = 0x2f

/** A pattern, read once. Matching takes at most length of pattern times length of text. */
export class Glob {
  readonly #chunks: readonly Chunk[]

  private constructor(chunks: readonly Chunk[]) {
    this.#chunks = chunks
  }

  /** Undefined for a malformed pattern, which matches nothing. */
  static parse(pattern: string): Glob | undefined {
    const chunks = new Reader(pattern).chunks()
    return chunks && new Glob(chunks)
  }

  matches(text: string): boolean {
    const points = Array.from(text, (char) => char.codePointAt(0) ?? 0)
    let at = 0
    for (const [index, chunk] of this.#chunks.entries()) {
      const isLast = index === this.#chunks.length - 1
      const end = chunk.star ? findChunk(chunk, points, at, isLast) : matchChunk(chunk, points, at)
      if (end === undefined) return false
      at = end
    }
    return at === points.length
  }
}

/** The leftmost place is enough: whatever follows can only lose by a later one. Only the last chunk must reach the end. */
function findChunk(
  chunk: Chunk,
  points: readonly number[],
  from: number,
  isLast: boolean,
): number | undefined {
  for (let at = from; ; at++) {
    const end = matchChunk(chunk, points, at)
    if (end !== undefined && (!isLast || end === points.length)) return end
    if (at >= points.length || points[at] === SLASH) return undefined
  }
}

/** Where the text goes on behind the chunk, or undefined. */
function matchChunk({ tokens }: Chunk, points: readonly number[], at: number): number | undefined {
  if (at + tokens.length > points.length) return undefined
  for (const [index, token] of tokens.entries()) {
    if (!matchToken(token, points[at + index] ?? SLASH)) return undefined
  }
  return at + tokens.length
}

function matchToken(token: Token, point: number): boolean {
  if (typeof token === 'number') return token === point
  if (token === ANY) return point !== SLASH
  return token.ranges.some(([low, high]) => low <= point && point <= high) !== token.negated
}

class Reader {
  readonly #points: readonly string[]
  #at = 0

  constructor(pattern: string) {
    this.#points = Array.from(pattern)
  }

  chunks(): Chunk[] | undefined {
    const chunks: Chunk[] = []
    let tokens: Token[] = []
    let star = false
    const close = (): void => {
      if (star || tokens.length > 0) chunks.push({ star, tokens })
      tokens = []
    }
    while (this.#at < this.#points.length) {
      const char = this.#next()
      if (char === '*') {
        // Several in a row are one.
        if (!star || tokens.length > 0) close()
        star = true
        continue
      }
      const token = char === '?' ? ANY : char === '[' ? this.#class() : this.#literal(char)
      if (token === undefined) return undefined
      tokens.push(token)
    }
    close()
    return chunks
  }

  #next(): string | undefined {
    return this.#points[this.#at++]
  }

  /** The code point that a character stands for, or that the next does behind a `\`. */
  #literal(char: string | undefined): number | undefined {
    return (char === '\\' ? this.#next() : char)?.codePointAt(0)
  }

  /** What follows a `[`, up to its `]`. */
  #class(): Class | undefined {
    const negated = this.#points[this.#at] === '^'
    if (negated) this.#at++
    const ranges: [number, number][] = []
    for (;;) {
      if (this.#points[this.#at] === ']' && ranges.length > 0) break
      const low = this.#bound()
      if (low === undefined) return undefined
      let high: number | undefined = low
      if (this.#points[this.#at] === '-') {
        this.#at++
        high = this.#bound()
      }
      if (high === undefined) return undefined
      ranges.push([low, high])
    }
    this.#at++
    return { negated, ranges }
  }

  #bound(): number | undefined {
    const char = this.#next()
    return char === '-' || char === ']' ? undefined : this.#literal(char)
  }
}
