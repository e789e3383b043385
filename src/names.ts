/** Names of keys and policies, and the patterns of listings (kes-api.md 4, formats.md "Names"). */

import { KesError } from './errors.ts'

const NAME = /^(?!-)(?!_$)[0-9A-Za-z_-]{1,80}(?<!-)$/
const PREFIX = /^(?!-)(?!_$)[0-9A-Za-z_-]{0,80}$/

/** Names in one page of a listing. */
export const PAGE = 1024

export function isName(name: string): boolean {
  return NAME.test(name)
}

/** Whether an entry of a keystore may be the server's: a key, or one of its own. Others share some stores. */
export function isEntryName(name: string): boolean {
  return /^[0-9A-Za-z_-]+$/.test(name)
}

/**
 * The name itself.
 *
 * @param kind what the name is of, for the message: `key name`, `policy name`, `identity`.
 * @throws KesError BAD_NAME
 */
export function checkName(name: string, kind: string): string {
  if (isName(name)) return name
  throw new KesError('BAD_NAME', {
    message: `${kind} '${name}' is empty, too long or contains invalid characters`,
  })
}

/** What a listing asks for: names that begin with `prefix`, from `from` on. */
export interface Listing {
  readonly prefix: string
  readonly from: string
}

/**
 * Reads a listing's argument: a prefix, a prefix followed by `*`, or the token `<prefix>~<next name>` of
 * an earlier page.
 *
 * @throws KesError BAD_NAME
 */
export function parseListing(argument: string): Listing {
  const tilde = argument.indexOf('~')
  const prefix = tilde < 0 ? argument.replace(/\*$/, '') : argument.slice(0, tilde)
  const from = tilde < 0 ? prefix : argument.slice(tilde + 1)
  if (PREFIX.test(prefix) && PREFIX.test(from) && from.startsWith(prefix)) return { prefix, from }
  throw new KesError('BAD_NAME', {
    message: `listing pattern '${argument}' is empty, too long or is invalid`,
  })
}

/** The argument that asks for the first page of the same listing; policies judge every page by it. */
export function firstPage(argument: string): string {
  const tilde = argument.indexOf('~')
  return tilde < 0 ? argument : argument.slice(0, tilde)
}

export interface Page {
  /** Sorted by byte. */
  readonly names: readonly string[]
  /** The first name that did not fit; absent at the end. */
  readonly next?: string
}

/** The page of a store that was asked for one name more than `limit`, in order; entries of others are left out. */
export function cutPage(names: readonly string[], limit: number): Page {
  const ours = names.slice(0, limit).filter(isEntryName)
  const next = names[limit]
  return next === undefined ? { names: ours } : { names: ours, next }
}

/** Cuts a page out of all names, in any order. */
export function pageOf(all: Iterable<string>, { prefix, from }: Listing, limit: number): Page {
  const names: string[] = []
  for (const name of all) if (name >= from && name.startsWith(prefix)) names.push(name)
  // Names are ASCII, so the order of UTF-16 code units is the order of bytes.
  names.sort()
  const next = names[limit]
  return next === undefined ? { names } : { names: names.slice(0, limit), next }
}

/** As `pageOf`, of all names in their order, without looking at each. */
export function pageOfSorted(
  sorted: readonly string[],
  { prefix, from }: Listing,
  limit: number,
): Page {
  const first = from > prefix ? from : prefix
  let [start, end] = [0, sorted.length]
  while (start < end) {
    const middle = (start + end) >>> 1
    if ((sorted[middle] as string) < first) start = middle + 1
    else end = middle
  }
  const names: string[] = []
  for (let at = start; sorted[at]?.startsWith(prefix) === true; at++) {
    if (names.length === limit) return { names, next: sorted[at] as string }
    names.push(sorted[at] as string)
  }
  return { names }
}

/** No name of an entry sorts before it. */
export const FIRST_ENTRY_NAME = '-'

/** No entry has it: whoever may read entries whose names begin so is told that there is none. */
export const ABSENT_ENTRY_NAME = '-openkes-probe'

/** The first text, by byte, behind all that begin with `prefix`; for '' behind all names. */
export function behind(prefix: string): string {
  // Names are ASCII, so the last character is not the last that there is.
  return prefix === ''
    ? '\x7f'
    : prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1)
}

/** The argument that asks for the page after this one; '' at the end. */
export function continueAt({ prefix }: Listing, { next }: Page): string {
  return next === undefined ? '' : `${prefix}~${next}`
}
