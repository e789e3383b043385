/** The store of etcd.ts: the keystore's six methods as ranges and transactions. Reads are linearizable. */

import * as v from 'valibot'

import { KesError } from '../../errors.ts'
import { behind, cutPage, FIRST_ENTRY_NAME, type Listing, type Page } from '../../names.ts'
import type { EtcdConfig } from '../etcd.ts'
import type { KeyStore } from '../keystore.ts'
import { Gateway } from './gateway.ts'

const bytes = v.pipe(
  v.optional(v.string(), ''),
  v.transform((text) => Buffer.from(text, 'base64')),
)
const range = v.object({ kvs: v.optional(v.array(v.object({ key: bytes, value: bytes })), []) })
const transaction = v.object({
  succeeded: v.optional(v.boolean(), false),
  responses: v.optional(v.array(v.object({ response_range: v.optional(range) })), []),
})
const deletion = v.object({ deleted: v.optional(v.string(), '0') })

export class EtcdStore implements KeyStore {
  readonly #prefix: string
  readonly #gateway: Gateway

  /** Nothing is connected yet. @throws KeyStoreError when a TLS file cannot be used */
  constructor(config: EtcdConfig) {
    this.#prefix = config.prefix
    this.#gateway = new Gateway(config)
  }

  /** A read that a majority of the members has to agree to, with the rights of a request for a key. */
  async status(signal: AbortSignal): Promise<void> {
    await this.#range({ key: this.#key('-'), limit: '1', keys_only: true }, signal)
  }

  async create(name: string, value: Uint8Array, signal: AbortSignal): Promise<void> {
    const key = this.#key(name)
    const body = {
      compare: [{ key, target: 'CREATE', result: 'EQUAL', create_revision: '0' }],
      success: [{ request_put: { key, value: base64(value) } }],
      failure: [{ request_range: { key } }],
    }
    const answer = await this.#gateway.call('kv/txn', body, transaction, 'readwrite', signal)
    if (answer.body.succeeded) return
    const [found] = answer.body.responses[0]?.response_range?.kvs ?? []
    // The answer to an earlier try was lost: what is there may be ours. Keys are random, so equal ones are.
    if (answer.wasRepeated && found?.value.equals(value) === true) return
    throw new KesError('KEY_EXISTS')
  }

  async get(name: string, signal: AbortSignal): Promise<Uint8Array> {
    const { kvs } = await this.#range({ key: this.#key(name) }, signal)
    const [found] = kvs
    if (found === undefined) throw new KesError('KEY_NOT_FOUND')
    return found.value
  }

  async delete(name: string, signal: AbortSignal): Promise<void> {
    const body = { key: this.#key(name) }
    const answer = await this.#gateway.call('kv/deleterange', body, deletion, 'readwrite', signal)
    // After a lost answer, nothing to delete may be our own doing; in any case it is gone.
    if (answer.body.deleted === '0' && !answer.wasRepeated) throw new KesError('KEY_NOT_FOUND')
  }

  async list({ prefix, from }: Listing, limit: number, signal: AbortSignal): Promise<Page> {
    const { kvs } = await this.#range(
      {
        // etcd does not take an empty key.
        key: this.#key(from === '' ? FIRST_ENTRY_NAME : from),
        range_end: this.#key(behind(prefix)),
        limit: String(limit + 1),
        keys_only: true,
      },
      signal,
    )
    const names = kvs.map(({ key }) => key.toString('latin1').slice(this.#prefix.length))
    return cutPage(names, limit)
  }

  async close(): Promise<void> {
    this.#gateway.close()
  }

  async #range(body: object, signal: AbortSignal): Promise<v.InferOutput<typeof range>> {
    return (await this.#gateway.call('kv/range', body, range, 'read', signal)).body
  }

  #key(name: string): string {
    return base64(Buffer.from(this.#prefix + name, 'latin1'))
  }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}
