/** The client's calls about keys. */

import { type DataKey, type KeyInfo, type NamePage, readKey, type Rewrapped } from './answers.ts'
import type { CallOptions, RequestOptions } from './caller.ts'
import { base64, BaseClient, fieldsOf, type PageOptions, repeatable, segment } from './base.ts'

export interface ContextOptions extends CallOptions {
  /** Bytes that the ciphertext is bound to: only who names the same can open it. They are not secret. */
  readonly context?: Uint8Array | undefined
}

export interface KeyMaterial {
  /** 32 bytes. */
  readonly key: Uint8Array
  /** Default `AES256`. */
  readonly cipher?: 'AES256' | 'ChaCha20' | undefined
  /** 32 bytes, for `hmac`; by default the server makes new ones. */
  readonly hmacKey?: Uint8Array | undefined
}

export interface HmacOptions extends CallOptions {
  /** Of the key. Default 1, so that a rotation does not change what was derived. */
  readonly version?: number | undefined
}

export interface DisableOptions extends CallOptions {
  /** Also refuses to decrypt and to compute HMACs. By default as it is if the key is disabled already, else not. */
  readonly denyDecrypt?: boolean | undefined
}

/** What is absent stays as it is; null takes it away. */
export interface KeyEdit {
  /** At most 8192 bytes. */
  readonly description?: string | null | undefined
  /** At most 50 in all; names of at most 128 characters, values of 256. */
  readonly tags?: Readonly<Record<string, string | null>> | undefined
}

export interface DeleteOptions extends CallOptions {
  /** 7 to 30: schedules the deletion, and `restoreKey` cancels it until then. Absent: at once. */
  readonly days?: number | undefined
}

export class KeyClient extends BaseClient {
  /** @throws KeyExistsError */
  async createKey(name: string, options?: CallOptions): Promise<void> {
    await this.change('PUT', `/v1/key/create/${segment(name)}`, undefined, options)
  }

  /** @throws KeyExistsError */
  async importKey(
    name: string,
    { key, cipher = 'AES256', hmacKey }: KeyMaterial,
    options?: CallOptions,
  ): Promise<void> {
    const body = {
      key: base64(key),
      cipher,
      hmac_key: optional(hmacKey),
    }
    await this.change('PUT', `/v1/key/import/${segment(name)}`, body, options)
  }

  /** @throws KeyNotFoundError */
  async describeKey(name: string, options?: CallOptions): Promise<KeyInfo> {
    return readKey(await this.get(`/v1/key/describe/${segment(name)}`, options), name)
  }

  /**
   * A new version: from then on data is sealed with it, and all older data still opens. Not repeated when it may have
   * been done: `describeKey` tells.
   *
   * @throws KeyNotFoundError, KeyDisabledError, KeyPendingError, ConflictError
   */
  async rotateKey(name: string, options?: CallOptions): Promise<KeyInfo> {
    return this.#changeKey('rotate', name, undefined, options)
  }

  /**
   * Disabled, a key does not encrypt, generate, rewrap or rotate; it still opens what it has sealed.
   *
   * @throws KeyNotFoundError, KeyPendingError, ConflictError
   */
  async disableKey(
    name: string,
    { denyDecrypt, ...options }: DisableOptions = {},
  ): Promise<KeyInfo> {
    const body = { deny_decrypt: denyDecrypt }
    return this.#changeKey('disable', name, body, repeatable(options))
  }

  /** @throws KeyNotFoundError, KeyPendingError, ConflictError */
  async enableKey(name: string, options?: CallOptions): Promise<KeyInfo> {
    return this.#changeKey('enable', name, undefined, repeatable(options))
  }

  /** @throws KeyNotFoundError, ConflictError; RefusedError beyond the limits */
  async editKey(
    name: string,
    { description, tags }: KeyEdit,
    options?: CallOptions,
  ): Promise<KeyInfo> {
    return this.#changeKey('edit', name, { description, tags }, repeatable(options))
  }

  /**
   * Deleted for ever: whatever was encrypted under it is lost. With `days` that is scheduled, and until then the key
   * still decrypts; a server may insist on that.
   *
   * @returns what the key is now when its deletion is pending; undefined when it is gone
   * @throws KeyNotFoundError, KeyPendingError
   */
  async deleteKey(
    name: string,
    { days, ...options }: DeleteOptions = {},
  ): Promise<KeyInfo | undefined> {
    const query = days === undefined ? '' : `?days=${days}`
    const path = `/v1/key/delete/${segment(name)}${query}`
    const answer = await this.request('DELETE', path, options)
    return answer.body.length === 0 ? undefined : readKey(fieldsOf(answer), name)
  }

  /**
   * Cancels a scheduled deletion: the state that the key had before comes back.
   *
   * @throws KeyNotFoundError, KeyNotPendingError, ConflictError
   */
  async restoreKey(name: string, options?: CallOptions): Promise<KeyInfo> {
    return this.#changeKey('restore', name, undefined, options)
  }

  /** All key names with a prefix (`my-app-` or `my-app-*`), page after page. */
  keys(prefix = '', options?: CallOptions): AsyncGenerator<string, void> {
    return this.names((page) => this.listKeys(prefix, { ...options, ...page }))
  }

  async listKeys(prefix = '', options?: PageOptions): Promise<NamePage> {
    return this.page('/v1/key/list/', 'names', prefix, options)
  }

  /** A new data key, in the clear and sealed under the named key. @throws KeyNotFoundError */
  async generateKey(name: string, { context, ...options }: ContextOptions = {}): Promise<DataKey> {
    const body = { context: optional(context) }
    const fields = await this.ask(`/v1/key/generate/${segment(name)}`, body, options)
    return { plaintext: fields.bytes('plaintext'), ciphertext: fields.bytes('ciphertext') }
  }

  /** @param plaintext at most about 768 KiB: what fits into a body of 1 MiB @throws KeyNotFoundError */
  async encrypt(
    name: string,
    plaintext: Uint8Array,
    { context, ...options }: ContextOptions = {},
  ): Promise<Buffer> {
    const body = {
      plaintext: base64(plaintext),
      context: optional(context),
    }
    const fields = await this.ask(`/v1/key/encrypt/${segment(name)}`, body, options)
    return fields.bytes('ciphertext')
  }

  /** The plaintext is the caller's: to be wiped after use. @throws KeyNotFoundError, DecryptError */
  async decrypt(
    name: string,
    ciphertext: Uint8Array,
    { context, ...options }: ContextOptions = {},
  ): Promise<Buffer> {
    const body = {
      ciphertext: base64(ciphertext),
      context: optional(context),
    }
    const fields = await this.ask(`/v1/key/decrypt/${segment(name)}`, body, options)
    return fields.bytes('plaintext')
  }

  /**
   * Seals what a ciphertext holds under the key's newest version; nobody sees the plaintext. The old one stays good.
   *
   * @throws KeyNotFoundError, DecryptError, KeyDisabledError, KeyPendingError
   */
  async rewrap(
    name: string,
    ciphertext: Uint8Array,
    { context, ...options }: ContextOptions = {},
  ): Promise<Rewrapped> {
    const body = {
      ciphertext: base64(ciphertext),
      context: optional(context),
    }
    const fields = await this.ask(`/v1/key/rewrap/${segment(name)}`, body, options)
    return { ciphertext: fields.bytes('ciphertext'), version: fields.number('version') }
  }

  /**
   * HMAC-SHA-256, 32 bytes.
   *
   * @throws KeyNotFoundError, VersionNotFoundError, KeyDisabledError; RefusedError NO_HMAC for keys older than HMAC in KES
   */
  async hmac(
    name: string,
    message: Uint8Array,
    { version, ...options }: HmacOptions = {},
  ): Promise<Buffer> {
    const body = { message: base64(message), version }
    const fields = await this.ask(`/v1/key/hmac/${segment(name)}`, body, options)
    return fields.bytes('hmac')
  }

  /** @returns what the key is now */
  async #changeKey(
    operation: 'rotate' | 'disable' | 'enable' | 'edit' | 'restore',
    name: string,
    body: unknown,
    options?: RequestOptions,
  ): Promise<KeyInfo> {
    const path = `/v1/key/${operation}/${segment(name)}`
    return readKey(fieldsOf(await this.request('PUT', path, { ...options, body })), name)
  }
}

/** Left out of the JSON where there is none. */
function optional(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : base64(bytes)
}
