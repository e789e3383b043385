/** Keystore in Azure Key Vault: a secret per key, whose oldest version holds the value (keystores.md 8). */

import * as v from 'valibot'

import { endpoint, optional, Secret, text } from '../fields.ts'
import { defineKeyStore } from './keystore.ts'
import { importOptional } from './optional.ts'

const id = (what: string) => v.pipe(optional(text, ''), v.description(what))

const credentials = v.pipe(
  v.strictObject({
    tenant_id: id('ID of the tenant (directory).'),
    client_id: id('ID of the application (client).'),
    client_secret: v.pipe(
      id('Secret of the application.'),
      v.transform((given) => new Secret(given)),
    ),
  }),
  v.rawCheck(({ dataset, addIssue }) => {
    if (!dataset.typed) return
    const { tenant_id: tenant, client_id: client, client_secret: secret } = dataset.value
    const values = { tenant_id: tenant, client_id: client, client_secret: secret.reveal() }
    const missing = Object.entries(values).flatMap(([name, value]) => (value === '' ? [name] : []))
    if (missing.length === 1 || missing.length === 2)
      addIssue({ message: `all three belong together; there is no ${missing.join(', no ')}` })
  }),
)

const config = v.pipe(
  v.strictObject({
    endpoint: v.pipe(
      text,
      v.description('URL of the vault, like https://my-vault.vault.azure.net.'),
      endpoint,
      v.startsWith('https://', 'only https: tokens are sent to it'),
    ),
    credentials: v.pipe(
      optional(credentials, {}),
      v.description('Application with a client secret.'),
    ),
    managed_identity: v.pipe(
      optional(v.strictObject({ client_id: id('Client ID of the identity.') }), {}),
      v.description(
        'User-assigned managed identity. Without it and credentials: environment, workload identity, system-assigned managed identity, Azure CLI, as the Azure SDK finds them.',
      ),
    ),
  }),
  v.forward(
    v.check(
      ({ credentials: { client_id: client }, managed_identity: identity }) =>
        client === '' || identity.client_id === '',
      'stands beside credentials; only one of them is possible',
    ),
    ['managed_identity'],
  ),
)

export type AzureConfig = v.InferOutput<typeof config>

export const azure = defineKeyStore({
  name: 'azure.keyvault',
  title: 'Azure Key Vault',
  config,
  describe: ({ endpoint: vault }) => vault,
  async open(settings) {
    const sdk = {
      ...(await importOptional('@azure/keyvault-secrets', () => import('@azure/keyvault-secrets'))),
      ...(await importOptional('@azure/identity', () => import('@azure/identity'))),
    }
    const { AzureStore } = await import('./azure/store.ts')
    return new AzureStore(settings, sdk)
  },
})
