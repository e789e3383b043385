/** Keystore in HashiCorp Vault or OpenBao: one secret of a KV engine per key, as the Go server keeps them (keystores.md 2). */

import * as v from 'valibot'

import { duration, endpoint, mutualTls, optional, secret, text, textOr } from '../fields.ts'
import { defineKeyStore } from './keystore.ts'

const authNamespace = v.pipe(
  optional(text, ''),
  v.description('Namespace of the login, if it is another one; / is the root namespace.'),
)

const approle = v.strictObject({
  engine: textOr('approle', 'Path of the auth method.'),
  namespace: authNamespace,
  id: v.pipe(text, v.nonEmpty('the role ID is needed'), v.description('Role ID.')),
  secret: secret('the secret ID is needed', 'Secret ID.'),
})

const kubernetes = v.strictObject({
  engine: textOr('kubernetes', 'Path of the auth method.'),
  namespace: authNamespace,
  role: v.pipe(optional(text, ''), v.description('Role of the auth method.')),
  jwt: secret(
    'the service account token is needed',
    'Service account token, or the path of its file, which is read at every login.',
  ),
})

const config = v.pipe(
  v.strictObject({
    endpoint,
    engine: textOr('kv', 'Path of the KV secrets engine.'),
    version: v.pipe(
      textOr('v1', 'Version of the KV engine, v1 or v2. Only v2 creates keys atomically.'),
      v.picklist(['v1', 'v2'], 'write v1 or v2'),
    ),
    namespace: v.pipe(optional(text, ''), v.description('Namespace of the engine.')),
    prefix: v.pipe(optional(text, ''), v.description('Path below the engine that keys are in.')),
    transit: v.pipe(
      v.nullish(
        v.strictObject({
          engine: textOr('transit', 'Path of the transit engine.'),
          key: v.pipe(
            text,
            v.nonEmpty('the name of a transit key is needed'),
            v.description('Name of the transit key.'),
          ),
        }),
      ),
      v.description('Keys are encrypted by a transit key before they are stored.'),
    ),
    approle: v.pipe(v.nullish(approle), v.description('Login with an AppRole.')),
    kubernetes: v.pipe(
      v.nullish(kubernetes),
      v.description('Login with a Kubernetes service account.'),
    ),
    tls: mutualTls,
    status: v.pipe(
      optional(
        v.strictObject({
          ping: v.pipe(
            optional(duration, '10s'),
            v.description(
              'Without effect: that Vault is sealed is seen at every answer, and that it is back, too.',
            ),
          ),
        }),
        {},
      ),
      v.description('Polls of the Go server.'),
    ),
  }),
  v.check(
    ({ approle, kubernetes }) => (approle ?? kubernetes ?? undefined) !== undefined,
    'no login is configured: approle or kubernetes is needed',
  ),
  v.check(
    ({ approle, kubernetes }) => !approle || !kubernetes,
    'two logins are configured: leave approle or kubernetes out',
  ),
)

export type VaultConfig = v.InferOutput<typeof config>

export const vault = defineKeyStore({
  name: 'vault',
  title: 'HashiCorp Vault or OpenBao, one secret of a KV engine per key',
  config,
  describe: ({ endpoint, engine, version, prefix }) =>
    `${endpoint}, KV ${version} engine ${engine}${prefix && `, prefix ${prefix}`}`,
  async open(settings, signal) {
    const [{ openVault }, { loginOf }] = await Promise.all([
      import('./vault/store.ts'),
      import('./vault/login.ts'),
    ])
    return openVault({ ...settings, login: loginOf(settings) }, signal)
  },
})
