/** Keystore in Thales CipherTrust Manager or Gemalto KeySecure: one secret per key (keystores.md 5). */

import * as v from 'valibot'

import { endpoint, optional, secret, serverTls, text } from '../fields.ts'
import { defineKeyStore } from './keystore.ts'

const config = v.strictObject({
  endpoint,
  credentials: v.pipe(
    v.strictObject({
      token: secret('a refresh token is needed', 'Refresh token that logins are made with.'),
      domain: v.pipe(
        optional(text, ''),
        v.description('Domain that the token is for; else the root domain.'),
      ),
    }),
    v.description('How the server logs in.'),
  ),
  tls: serverTls,
})

export type GemaltoConfig = v.InferOutput<typeof config>

export const gemalto = defineKeyStore({
  name: 'gemalto.keysecure',
  title: 'Thales CipherTrust Manager or Gemalto KeySecure, one secret per key',
  config,
  describe: ({ endpoint, credentials: { domain } }) =>
    `${endpoint}${domain && `, domain ${domain}`}`,
  async open(settings, signal) {
    const { openGemalto } = await import('./gemalto/store.ts')
    return openGemalto(settings, signal)
  },
})
