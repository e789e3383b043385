/**
 * The entries of a keystore that say that an enclave is there, and who its admin is, or that it is deleted
 * (kes-dialects.md, "Enclaves").
 */

import { type Identity, parseIdentity } from '../crypto/identity.ts'
import { parseRfc3339, type Timestamp } from '../time.ts'

export interface EnclaveEntry {
  readonly admin: Identity
  readonly createdAt: Timestamp
}

/** What its name begins with; the name of the enclave follows. */
export const ENCLAVE_ENTRY = '-enclave-'

/** Undefined when it is damaged. */
export function decodeEnclaveEntry(value: Uint8Array): EnclaveEntry | undefined {
  try {
    const fields = JSON.parse(Buffer.from(value).toString()) as Readonly<Record<string, unknown>>
    const admin = parseIdentity(String(fields['admin']))
    const createdAt = parseRfc3339(String(fields['created_at']))
    return admin === undefined || createdAt === undefined ? undefined : { admin, createdAt }
  } catch {
    // No JSON, or none with fields.
    return undefined
  }
}

/** That an enclave is gone for everybody, although not all of its entries may be. */
export interface DeletedMark {
  /** Until then its keys are kept; undefined: they are being deleted. */
  readonly destroyAt: Timestamp | undefined
}

/** What its name begins with; the name of the enclave follows. */
export const DELETED_MARK = '-deleted-enclave-'

/** @param value a damaged one counts, too: as one that says no more than its name */
export function decodeDeletedMark(value: Uint8Array): DeletedMark {
  try {
    const fields = JSON.parse(Buffer.from(value).toString()) as Readonly<Record<string, unknown>>
    return { destroyAt: parseRfc3339(String(fields['destroy_at'])) }
  } catch {
    return { destroyAt: undefined }
  }
}
