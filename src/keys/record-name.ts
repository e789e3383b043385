/** Names of change records: `-<n>-<owner>-<key>` (docs/formats.md, "Change records"). No key has such a name. */

/** Hex digits of the owner in a name; the record has all of them. */
const DIGITS = 8

const NAME = /^(-[0-9a-f]{16}-)?-([1-9]\d{0,2})-([0-9a-f]{8})-(.+)$/

/** @param owner SHA-256 of the key's own entry */
export function recordName(number: number, owner: Buffer, key: string): string {
  return `-${number}-${owner.toString('hex').slice(0, DIGITS)}-${key}`
}

export interface RecordName {
  /** Of the enclave that the key is one of; '' for the server's. */
  readonly prefix: string
  readonly number: number
  /** The first hex digits of it. */
  readonly owner: string
  readonly key: string
}

/** What the name of an entry says; undefined when it is no record's. */
export function parseRecordName(name: string): RecordName | undefined {
  const match = NAME.exec(name)
  if (match === null) return undefined
  const [, prefix = '', number, owner = '', key = ''] = match
  return { prefix, number: Number(number), owner, key }
}
