/** HPACK's tables (RFC 7541, 2.3 and appendix A): what both sides know of each other's header fields. */

import { type Field, http2Field } from './field.ts'

const STATIC: readonly Field[] = [
  ':authority',
  ':method GET',
  ':method POST',
  ':path /',
  ':path /index.html',
  ':scheme http',
  ':scheme https',
  ':status 200',
  ':status 204',
  ':status 206',
  ':status 304',
  ':status 400',
  ':status 404',
  ':status 500',
  'accept-charset',
  'accept-encoding gzip, deflate',
  'accept-language',
  'accept-ranges',
  'accept',
  'access-control-allow-origin',
  'age',
  'allow',
  'authorization',
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-length',
  'content-location',
  'content-range',
  'content-type',
  'cookie',
  'date',
  'etag',
  'expect',
  'expires',
  'from',
  'host',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'last-modified',
  'link',
  'location',
  'max-forwards',
  'proxy-authenticate',
  'proxy-authorization',
  'range',
  'referer',
  'refresh',
  'retry-after',
  'server',
  'set-cookie',
  'strict-transport-security',
  'transfer-encoding',
  'user-agent',
  'vary',
  'via',
  'www-authenticate',
].map((line) => {
  const space = line.indexOf(' ')
  return space < 0 ? http2Field(line, '') : http2Field(line.slice(0, space), line.slice(space + 1))
})

export const STATIC_SIZE = STATIC.length

/** Of the static table; undefined where it has none. @param index from 1 */
export function staticAt(index: number): Field | undefined {
  return STATIC[index - 1]
}

/** Indexes of names, and of whole fields written `name value`, in the static table. */
export const STATIC_NAMES = new Map<string, number>()
export const STATIC_FIELDS = new Map<string, number>()
for (const [at, { name, value }] of STATIC.entries()) {
  if (!STATIC_NAMES.has(name)) STATIC_NAMES.set(name, at + 1)
  if (value !== '') STATIC_FIELDS.set(`${name} ${value}`, at + 1)
}

/** The dynamic table: a ring of fields, the newest first, bounded by their sizes. */
export class DynamicTable<T extends { readonly size: number }> {
  #ring: (T | undefined)[] = Array.from({ length: 16 })
  /** Where the newest is. */
  #head = 0
  #count = 0
  #size = 0
  #limit: number

  /** @param limit bytes, as `Field.size` counts them */
  constructor(limit: number) {
    this.#limit = limit
  }

  get count(): number {
    return this.#count
  }

  get size(): number {
    return this.#size
  }

  get limit(): number {
    return this.#limit
  }

  /** @param index 0 = the newest */
  at(index: number): T | undefined {
    if (index >= this.#count) return undefined
    return this.#ring[(this.#head - index) & (this.#ring.length - 1)]
  }

  /** A field that is larger than the table empties it, and is no error. */
  add(field: T): void {
    const { size } = field
    this.#shrinkTo(this.#limit - size)
    if (size > this.#limit) return
    if (this.#count === this.#ring.length) this.#grow()
    this.#head = (this.#head + 1) & (this.#ring.length - 1)
    this.#ring[this.#head] = field
    this.#count++
    this.#size += size
  }

  resize(limit: number): void {
    this.#limit = limit
    this.#shrinkTo(limit)
  }

  #shrinkTo(size: number): void {
    while (this.#size > size && this.#count > 0) {
      const at = (this.#head - --this.#count) & (this.#ring.length - 1)
      this.#size -= this.#ring[at]?.size ?? 0
      this.#ring[at] = undefined
    }
  }

  #grow(): void {
    const fields = Array.from({ length: this.#count }, (_, index) =>
      this.at(this.#count - 1 - index),
    )
    this.#ring = [...fields, ...Array.from<undefined>({ length: this.#count })]
    this.#head = this.#count - 1
  }
}
