/**
 * From one configuration to the next (rustfs-kms-admin.md, 4.4): what a body leaves out, what cannot be changed, and
 * that a secret never goes to another place than the one that it was given for.
 */

import { KesError } from '../../errors.ts'
import { mountOf } from './auth-method.ts'
import type { Document, FieldName, Said } from './document.ts'
import { type KmsSettings, settingsOf, type VaultBackendSettings } from './settings.ts'

export interface Configuration {
  readonly document: Document
  readonly settings: KmsSettings
  /** Fields that were given over the API: they may name only what the config file lets them. */
  readonly byApi: ReadonlySet<FieldName>
}

/** What a body, or the config file, makes of it. @throws KesError BAD_REQUEST, NOT_IMPLEMENTED */
export function configurationOf(
  { backend, said }: Document,
  byApi: ReadonlySet<FieldName>,
): Configuration {
  const entries = Object.entries(said).filter(([, value]) => value !== null)
  const document = { backend, said: Object.fromEntries(entries) as Said }
  return { document, settings: settingsOf(document), byApi }
}

/** The configuration that the config file says. @throws KesError as configurationOf */
export function configurationOfFile(document: Document): Configuration {
  return configurationOf(document, new Set())
}

/**
 * A whole new configuration, given over the API.
 *
 * @param before what there was; a body need not repeat its secrets where nothing but tuning changes
 * @throws KesError BAD_REQUEST, SERVICE_CONFLICT, NOT_IMPLEMENTED
 */
export function replaced(before: Configuration | undefined, given: Document): Configuration {
  if (before?.document.backend === 'local') checkLocal(before.document, given)
  const kept: FieldName[] = []
  if (before?.document.backend === 'local' && !given.said.master_key) kept.push('master_key')
  if (hasBlankToken(given) && before && isVault(before.document)) kept.push('auth_method')
  return continued(before, { backend: given.backend, said: {} }, given, kept)
}

/**
 * Only what a body gives is changed; null goes back to the default. Another backend is a whole new configuration.
 *
 * @throws KesError as replaced
 */
export function merged(before: Configuration, given: Document): Configuration {
  if (given.backend !== before.document.backend) return replaced(before, given)
  if (given.backend === 'local')
    checkLocal(before.document, { ...given, said: { ...before.document.said, ...given.said } })
  const kept: FieldName[] = hasBlankToken(given) ? ['auth_method'] : []
  return continued(before, before.document, given, kept)
}

/** @param kept fields of before that stand, whatever is given */
function continued(
  before: Configuration | undefined,
  base: Document,
  given: Document,
  kept: readonly FieldName[],
): Configuration {
  const old = before?.document.said ?? {}
  const restored = Object.fromEntries(kept.map((name) => [name, old[name]])) as Said
  const said = { ...base.said, ...given.said, ...restored }
  const isGiven = (name: FieldName): boolean => name in given.said && !kept.includes(name)
  const names = Object.keys(said) as FieldName[]
  const byApi = new Set(names.filter((name) => isGiven(name) || before?.byApi.has(name)))
  const next = configurationOf({ backend: given.backend, said }, byApi)
  if (before !== undefined) checkCredentials(before, next, given, kept)
  return next
}

/** Keys of this backend are of no use elsewhere, or under another passphrase, and would be missed there. */
function checkLocal({ said: old }: Document, { backend, said }: Document): void {
  const refuse = (what: string): never => {
    throw new KesError('SERVICE_CONFLICT', { message: `${what} is not supported` })
  }
  if (backend !== 'local') refuse('Changing from the Local KMS backend')
  if (said.key_dir !== undefined && said.key_dir !== old.key_dir)
    refuse('Changing the Local KMS key directory')
  const { master_key: given } = said
  if (given !== undefined && given?.mark !== old.master_key?.mark)
    refuse('Changing the Local KMS master key')
}

function hasBlankToken({ said: { auth_method: auth } }: Document): boolean {
  return auth?.type === 'token' && auth.token.reveal().trim() === ''
}

function isVault({ backend }: Document): boolean {
  return backend === 'vault' || backend === 'vault-transit'
}

/** A stored secret stays where it was given for: same Vault, same namespace, same mount, same care. */
function checkCredentials(
  before: Configuration,
  next: Configuration,
  given: Document,
  kept: readonly FieldName[],
): void {
  const isReused = given.said.auth_method === undefined || kept.includes('auth_method')
  if (!isReused || !isVault(before.document) || !isVault(next.document)) return
  if (placeOf(before) === placeOf(next)) return
  throw new KesError('BAD_REQUEST', {
    message:
      'Configuration error: credentials required when address changes: send auth_method, too',
  })
}

function placeOf({ settings, document: { said } }: Configuration): string {
  const { address, namespace, auth } = settings.backend as VaultBackendSettings
  const isVerified = said.skip_tls_verify !== true
  return JSON.stringify([address, namespace ?? '', mountOf(auth), isVerified])
}
