/** The table of requests whose answers by the Go server are on record (test/api/requests.json). */

import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'

import { COMMIT, VERSION } from '#src/version.js'
import { people } from './server.ts'

export interface Expected {
  readonly status: number
  /** Of the headers in COMPARED exactly these; without content-length: whatever the body has. */
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
  /** Instead of `body`: what it contains, in any order. */
  readonly bodyIncludes?: readonly string[]
}

export interface Row {
  readonly row: number
  readonly who: 'admin' | 'user' | 'nobody'
  /** Absent: over both. */
  readonly http?: 'h1' | 'h2'
  readonly method: string
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** The client does not announce the body's length. */
  readonly noLength?: true
  /** Keys that exist before. */
  readonly given?: readonly string[]
  readonly observed: Expected
  readonly instead?: Expected & { readonly decision: string }
}

interface Table {
  readonly about: string
  readonly policies: Readonly<
    Record<string, { allow?: string[]; deny?: string[]; identities?: string[] }>
  >
  readonly requests: readonly Row[]
}

export const table = JSON.parse(
  readFileSync(new URL('../../../test/api/requests.json', import.meta.url), 'utf8'),
) as Table

/** Fresh values of the placeholders of paths and bodies, of the lengths that they had when observed. */
export async function placeholders(): Promise<Record<string, string>> {
  const run = randomBytes(5).toString('hex')
  const { admin, user, nobody } = await people()
  const name = (end: string): string => `cf${run}-${end}`
  const n80 = run.padStart(80, 'c')
  const numbered = Object.fromEntries(
    ['new1', 'new2', 'new3', 'new4', 'new5', 'new6', 'new7', 'new8', 'gone', 'del1', 'del2'].map(
      (end) => [end, name(end)],
    ),
  )
  const identities = Object.values(table.policies).flatMap(({ identities = [] }) => identities)
  return {
    ...numbered,
    run,
    key: name('probe'),
    n80,
    n81: `${n80}c`,
    und: `_cf${run}`,
    key32: randomBytes(32).toString('base64'),
    b1000: randomBytes(1000).toString('base64'),
    // `{"plaintext":""}` around it makes a body of 1,048,576 bytes, and of 4 more.
    plainmax: 'A'.repeat(1_048_560),
    plainbig: 'A'.repeat(1_048_564),
    admin: admin.identity,
    user: user.identity,
    nobody: nobody.identity,
    identities: JSON.stringify(
      [
        admin.identity,
        ...identities.map((text) => (text === '{user}' ? user.identity : text)),
      ].sort(),
    ),
    version: VERSION,
    commit: COMMIT,
  }
}

export function expand(text: string, names: Readonly<Record<string, string>>): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => names[name] ?? whole)
}

/** A body with {bytes<length>}, {time}, {int} and {word} for what is different every time. */
export function shape(body: string): string {
  return body
    .replace(/"(plaintext|ciphertext|hmac)":"([A-Za-z0-9+/]*={0,2})"/g, (whole, name, text) => {
      const bytes = Buffer.from(text as string, 'base64')
      return bytes.toString('base64') === text ? `"${name}":"{bytes${bytes.length}}"` : whole
    })
    .replace(
      /"created_at":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z"/g,
      '"created_at":"{time}"',
    )
    .replace(/"(os|arch)":"\w+"/g, '"$1":"{word}"')
    .replace(/":\d+(?=[,}])/g, '":{int}')
}
