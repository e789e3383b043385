/** Keystore in Fortanix SDKMS: one opaque object per key, as the Go server keeps them (keystores.md 4). */

import * as v from 'valibot'

import { endpoint, optional, secret, serverTls, text } from '../fields.ts'
import { defineKeyStore } from './keystore.ts'

const config = v.strictObject({
  endpoint,
  group_id: v.pipe(
    optional(text, ''),
    v.description('Group of new keys; else the default group of the app.'),
  ),
  credentials: v.pipe(
    v.strictObject({
      key: secret('the API key of the app is needed', 'API key of the app, as SDKMS shows it.'),
    }),
    v.description('How the server logs in.'),
  ),
  tls: serverTls,
})

export type FortanixConfig = v.InferOutput<typeof config>

export const fortanix = defineKeyStore({
  name: 'fortanix.sdkms',
  title: 'Fortanix SDKMS, one opaque object per key',
  config,
  describe: ({ endpoint, group_id: group }) => `${endpoint}${group && `, group ${group}`}`,
  async open(settings, signal) {
    const { openFortanix } = await import('./fortanix/store.ts')
    return openFortanix(settings, signal)
  },
})
