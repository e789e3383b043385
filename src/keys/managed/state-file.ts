/**
 * What was configured over the API, kept for the next start: JSON, sealed under a key of the server's own keystore that
 * no caller can name. Belongs to one server; another one has another file.
 */

import { createHash } from 'node:crypto'

import { readIfThere, replaceFile } from '../../durable.ts'
import type { Deadline } from '../../deadline.ts'
import { isCode } from '../../errors.ts'
import { decodeBase64, JsonError } from '../../json.ts'
import { parseStrict, StrictFields } from '../../strict-json.ts'
import type { Key } from '../key.ts'
import type { KeyService } from '../service.ts'
import { type Configuration, configurationOf } from './configuration.ts'
import { type Document, documentJson, type FieldName, readDocument } from './document.ts'

const STATE_KEY = '-openkes-state'
const PREFIX = 'openkes-state:v1:'
const CONTEXT = Buffer.from(PREFIX)

export interface SavedState {
  readonly configuration: Configuration
  readonly isRunning: boolean
  /** Of what the config file said then. */
  readonly startMark: string
}

/** Tells whether the config file says the same as when something was saved. */
export function markOf(start: Document | undefined): string {
  if (start === undefined) return ''
  const json = JSON.stringify(documentJson(start, (secret) => secret.reveal()))
  return createHash('sha256').update(json).digest('hex')
}

/**
 * Undefined when there is no file.
 *
 * @throws KesError, JsonError, or the errors of readFile(2) when it cannot be used
 */
export async function loadState(
  path: string,
  keys: KeyService,
  deadline: Deadline,
): Promise<SavedState | undefined> {
  const text = (await readIfThere(path))?.toString('latin1')
  if (text === undefined) return undefined
  const sealed = text.startsWith(PREFIX) ? decodeBase64(text.slice(PREFIX.length)) : undefined
  if (sealed === undefined) throw new JsonError('not what this server writes')
  const key = await keys.get(STATE_KEY, deadline)
  return readState(key.decrypt(sealed, CONTEXT))
}

/** @throws KesError when the keystore does not answer, or the errors of write(2): then the old file is there */
export async function saveState(
  path: string,
  keys: KeyService,
  { configuration, isRunning, startMark }: SavedState,
  deadline: Deadline,
): Promise<void> {
  const json = {
    running: isRunning,
    start: startMark,
    by_api: [...configuration.byApi],
    configuration: documentJson(configuration.document, (secret) => secret.reveal()),
  }
  const plaintext = Buffer.from(JSON.stringify(json))
  const sealed = (await stateKey(keys, deadline)).encrypt(plaintext, CONTEXT)
  plaintext.fill(0)
  await replaceFile(path, Buffer.from(PREFIX + sealed.toString('base64')), `${path}.draft`)
}

/** The key, made when it is first needed. */
async function stateKey(keys: KeyService, deadline: Deadline): Promise<Key> {
  try {
    return await keys.get(STATE_KEY, deadline)
  } catch (error) {
    if (!isCode(error, 'KEY_NOT_FOUND')) throw error
  }
  try {
    await keys.create(STATE_KEY, '', deadline)
  } catch (error) {
    // Another server was faster.
    if (!isCode(error, 'KEY_EXISTS')) throw error
  }
  return keys.get(STATE_KEY, deadline)
}

function readState(plaintext: Buffer): SavedState {
  const fields = new StrictFields(parseStrict(plaintext))
  plaintext.fill(0)
  const configuration = fields.object('configuration')
  if (!configuration) throw new JsonError('missing field configuration')
  const byApi = new Set((fields.strings('by_api') ?? []) as FieldName[])
  return {
    configuration: configurationOf(readDocument(configuration), byApi),
    isRunning: fields.boolean('running') === true,
    startMark: fields.string('start') ?? '',
  }
}
