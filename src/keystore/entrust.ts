/** Keystore in Entrust KeyControl: one secret of a box per key, as the Go server keeps them (keystores.md 9). */

import * as v from 'valibot'

import { endpoint, secret, serverTls, text } from '../fields.ts'
import { defineKeyStore } from './keystore.ts'

const config = v.strictObject({
  endpoint,
  vault_id: v.pipe(text, v.nonEmpty('the ID of the vault is needed'), v.description('The vault.')),
  box_id: v.pipe(
    text,
    v.nonEmpty('the name or ID of the box is needed'),
    v.description('Name or ID of the box that keys are in.'),
  ),
  credentials: v.pipe(
    v.strictObject({
      username: v.pipe(text, v.nonEmpty('a user is needed'), v.description('User of the vault.')),
      password: secret('the password of the user is needed', 'Password of the user.'),
    }),
    v.description('How the server logs in.'),
  ),
  tls: serverTls,
})

export type EntrustConfig = v.InferOutput<typeof config>

export const entrust = defineKeyStore({
  name: 'entrust.keycontrol',
  title: 'Entrust KeyControl, one secret of a box per key',
  config,
  describe: ({ endpoint, vault_id: id, box_id: box }) => `${endpoint}, vault ${id}, box ${box}`,
  async open(settings, signal) {
    const { openEntrust } = await import('./entrust/store.ts')
    return openEntrust(settings, signal)
  },
})
