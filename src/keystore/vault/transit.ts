/** Values encrypted by a key of Vault's transit engine before they are stored. */

import { decodeBase64, member } from '../../json.ts'
import { KeyStoreError } from '../keystore.ts'
import type { VaultConfig } from '../vault.ts'
import { pathOf, reasonOf } from './api.ts'
import type { VaultSession } from './session.ts'

/** Made by some version of a transit key; the Go server knows the first version only. */
export function isWrapped(stored: string): boolean {
  return /^vault:v\d+:/.test(stored)
}

export class Transit {
  readonly #session: VaultSession
  readonly #engine: string
  readonly #key: string

  constructor(session: VaultSession, { engine, key }: NonNullable<VaultConfig['transit']>) {
    this.#session = session
    this.#engine = engine
    this.#key = key
  }

  async wrap(value: string, signal: AbortSignal): Promise<string> {
    const plaintext = Buffer.from(value, 'latin1').toString('base64')
    const ciphertext = await this.#ask('encrypt', { plaintext }, 'ciphertext', signal)
    if (isWrapped(ciphertext)) return ciphertext
    throw new KeyStoreError('failed', 'the transit engine gave no ciphertext of its own')
  }

  async unwrap(ciphertext: string, signal: AbortSignal): Promise<Uint8Array> {
    const plaintext = await this.#ask('decrypt', { ciphertext }, 'plaintext', signal)
    const value = decodeBase64(plaintext)
    if (value !== undefined) return value
    throw new KeyStoreError('failed', 'the transit engine gave a plaintext that is no base64')
  }

  async #ask(
    operation: 'encrypt' | 'decrypt',
    body: Readonly<Record<string, string>>,
    field: string,
    signal: AbortSignal,
  ): Promise<string> {
    const path = pathOf(this.#engine, operation, this.#key)
    const answer = await this.#session.request({
      method: 'POST',
      path: `/v1/${path}`,
      body,
      isRepeatable: true,
      signal,
    })
    const result = answer.status === 200 ? member(member(answer.json(), 'data'), field) : undefined
    if (typeof result === 'string') return result
    const hint =
      answer.status === 403 ? `; the policy needs the capability 'update' on '${path}'` : ''
    throw answer.error(`cannot ${operation} with a transit key${hint}`, reasonOf(answer))
  }
}
