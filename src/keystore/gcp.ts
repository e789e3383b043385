/** Keystore in GCP Secret Manager: a secret per key, whose version 1 holds the value (keystores.md 7). */

import { createPrivateKey } from 'node:crypto'

import * as v from 'valibot'

import { hostOrUrl, optional, Secret, text } from '../fields.ts'
import { defineKeyStore } from './keystore.ts'
import { importOptional } from './optional.ts'

/** Where Google serves it. */
const GOOGLE = 'secretmanager.googleapis.com'

const CREDENTIALS = ['client_email', 'client_id', 'private_key_id', 'private_key'] as const

const credential = (what: string) => v.pipe(optional(text, ''), v.description(what))

const credentials = v.pipe(
  v.strictObject({
    client_email: credential('E-mail address of the service account.'),
    client_id: credential('Its client ID.'),
    private_key_id: credential('ID of its key.'),
    private_key: v.pipe(
      credential('Its key, PEM; line ends may be written as \\n.'),
      v.transform((given) => given.replaceAll('\\n', '\n')),
      v.check(isKey, 'not a private key in PEM'),
      v.transform((given) => new Secret(given)),
    ),
  }),
  v.rawCheck(({ dataset, addIssue }) => {
    if (!dataset.typed) return
    const missing = CREDENTIALS.filter((name) => isEmpty(dataset.value[name]))
    if (missing.length > 0 && missing.length < CREDENTIALS.length)
      addIssue({ message: `all four belong together; there is no ${missing.join(', no ')}` })
  }),
)

function isKey(pem: string): boolean {
  try {
    return pem === '' || createPrivateKey(pem).type === 'private'
  } catch {
    return false
  }
}

function isEmpty(value: string | Secret): boolean {
  return (value instanceof Secret ? value.reveal() : value) === ''
}

const config = v.strictObject({
  project_id: v.pipe(
    text,
    v.nonEmpty('the ID of the project is needed'),
    v.description('ID of the project that the secrets belong to.'),
  ),
  endpoint: v.pipe(
    optional(text, ''),
    v.description(
      `Host, with or without a port, or URL of the service; ${GOOGLE} by default. An http:// URL is an emulator that speaks REST.`,
    ),
    v.transform((given) => (given === '' ? GOOGLE : given)),
    hostOrUrl(`${GOOGLE}:443`),
  ),
  scopes: v.pipe(
    optional(v.array(text), []),
    v.description('OAuth scopes of the tokens; the client’s own by default.'),
  ),
  credentials: v.pipe(
    optional(credentials, {}),
    v.description(
      'Service account. Left out or empty: Application Default Credentials (environment, gcloud, workload identity, metadata server).',
    ),
  ),
})

export type GcpConfig = v.InferOutput<typeof config>

export const gcp = defineKeyStore({
  name: 'gcp.secretmanager',
  title: 'GCP Secret Manager',
  config,
  describe: ({ endpoint, project_id: project }) => `${endpoint} (project ${project})`,
  async open(settings) {
    const sdk = await importOptional(
      '@google-cloud/secret-manager',
      () => import('@google-cloud/secret-manager'),
    )
    const { GcpStore } = await import('./gcp/store.ts')
    return new GcpStore(settings, sdk)
  },
})
