/**
 * The secret that a master key stands for in one directory: scrypt of the master key and of a salt that is kept there,
 * in `.master-key.salt`, with a proof that tells another master key. Without the salt nothing opens any more.
 */

import { randomBytes, randomUUID, scrypt } from 'node:crypto'
import { join } from 'node:path'
import { promisify } from 'node:util'

import { parseRaw } from '../../crypto/ciphertext.ts'
import { Secret as SealingSecret } from '../../crypto/aead.ts'
import { createFile, readIfThere } from '../../durable.ts'
import type { Secret } from '../../fields.ts'
import { decodeBase64, Fields, JsonError } from '../../json.ts'
import { DRAFT } from '../../keystore/fs.ts'
import { BackendError } from './backend-error.ts'

const FILE = '.master-key.salt'
const SALT_SIZE = 16
/** 128 MiB and some tenths of a second for each guess. */
const COST = { N: 2 ** 17, r: 8, p: 1 }
const PROOF = Buffer.from('openkes master key')

/**
 * @param isEmpty whether the directory has no keys: then a missing salt is made
 * @throws BackendError for a missing or damaged salt, and for another master key than before
 */
export async function openMasterKey(
  directory: string,
  masterKey: Secret,
  isEmpty: () => Promise<boolean>,
): Promise<SealingSecret> {
  const path = join(directory, FILE)
  const there = await readSalt(path)
  if (there !== undefined) return unlock(there, masterKey)
  if (!(await isEmpty()))
    throw new BackendError(
      `the key directory has keys, but its ${FILE} is missing, without which they do not open: restore it`,
    )
  const salt = randomBytes(SALT_SIZE)
  const secret = await derive(masterKey, salt)
  const proof = secret.seal(PROOF, salt)
  const text = JSON.stringify({
    version: 1,
    kdf: 'scrypt',
    salt: salt.toString('base64'),
    proof: proof.toString('base64'),
  })
  try {
    const draft = join(directory, `${DRAFT}${process.pid}-${randomUUID()}`)
    await createFile(path, Buffer.from(text), draft)
    return secret
  } catch (error) {
    // Somebody else was faster: that salt counts.
    const made = (error as NodeJS.ErrnoException).code === 'EEXIST' && (await readSalt(path))
    if (!made) throw error
    return unlock(made, masterKey)
  }
}

interface Salt {
  readonly salt: Buffer
  readonly proof: Buffer
}

async function readSalt(path: string): Promise<Salt | undefined> {
  const text = (await readIfThere(path))?.toString()
  if (text === undefined) return undefined
  try {
    const fields = new Fields(JSON.parse(text))
    const [salt, proof] = [fields.string('salt') ?? '', fields.string('proof') ?? ''].map(
      decodeBase64,
    )
    const isKnown = fields.value('version') === 1 && fields.string('kdf') === 'scrypt'
    if (isKnown && salt?.length === SALT_SIZE && proof !== undefined) return { salt, proof }
  } catch (error) {
    if (!(error instanceof SyntaxError) && !(error instanceof JsonError)) throw error
  }
  throw new BackendError(
    `${FILE} in the key directory is damaged, or of a later release: restore it`,
  )
}

async function unlock({ salt, proof }: Salt, masterKey: Secret): Promise<SealingSecret> {
  const secret = await derive(masterKey, salt)
  const sealed = parseRaw(proof)
  if (sealed !== undefined && secret.open(sealed, salt)?.equals(PROOF)) return secret
  throw new BackendError(
    'master_key is not the one that the keys of the key directory are sealed under',
  )
}

async function derive(masterKey: Secret, salt: Buffer): Promise<SealingSecret> {
  const bytes = await deriveBytes(masterKey.reveal(), salt, 32, { ...COST, maxmem: 2 ** 28 })
  const secret = new SealingSecret('AES256', bytes)
  bytes.fill(0)
  return secret
}

const deriveBytes = promisify<string, Buffer, number, object, Buffer>(scrypt)
