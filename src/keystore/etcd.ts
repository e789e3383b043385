/**
 * Keystore in etcd, version 3.4 or later, over its JSON gateway: a key of etcd per key. Only what the config says is
 * here; the rest is etcd/store.ts.
 */

import * as v from 'valibot'

import { endpoint, folder, mutualTls, optional, Secret, text } from '../fields.ts'
import { defineKeyStore } from './keystore.ts'

const config = v.pipe(
  v.strictObject({
    endpoints: v.pipe(
      v.array(endpoint),
      v.minLength(1, 'at least one endpoint is needed, like https://etcd-1.example.com:2379'),
      v.description('URLs of the members, like https://etcd-1.example.com:2379; any may fail.'),
    ),
    prefix: v.pipe(
      optional(folder, '/kes/'),
      v.description('What the names of the keys begin with in etcd.'),
    ),
    username: v.pipe(
      optional(text, ''),
      v.description('User of etcd; left out where authentication is off.'),
    ),
    password: v.pipe(
      optional(text, ''),
      v.description('Password of the user.'),
      v.transform((given) => new Secret(given)),
    ),
    tls: mutualTls,
  }),
  v.check(
    ({ username, password }) => (username === '') === (password.reveal() === ''),
    'username and password belong together',
  ),
)

export type EtcdConfig = v.InferOutput<typeof config>

export const etcd = defineKeyStore({
  name: 'etcd',
  title: 'etcd, version 3.4 or later',
  config,
  describe: ({ endpoints, prefix }) => `${prefix} at ${endpoints.join(', ')}`,
  async open(settings) {
    const { EtcdStore } = await import('./etcd/store.ts')
    return new EtcdStore(settings)
  },
})
