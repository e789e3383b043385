/** As much of S3 as a keystore needs, with faults that real servers do not show on demand. Signatures are not checked. */

import assert from 'node:assert/strict'

import { type FakeAnswer, FakeHttp, type FakeRequest } from './fake-http.ts'
import type { Owner } from './server.ts'
import type { StoreConfig } from './stores.ts'

export const FAKE_BUCKET = 'kes-keys'

export interface FakeS3Options {
  /** Writes are done whatever the condition says, as services of some years ago do. */
  readonly ignoresConditions?: boolean
  readonly tls?: { readonly key: string; readonly cert: string }
}

export class FakeS3 {
  readonly objects = new Map<string, string>()
  readonly #options: FakeS3Options
  #http: FakeHttp | undefined

  private constructor(options: FakeS3Options) {
    this.#options = options
  }

  static async start(t: Owner, options: FakeS3Options = {}): Promise<FakeS3> {
    const fake = new FakeS3(options)
    fake.#http = await FakeHttp.start(t, (request) => fake.#handle(request), options.tls)
    return fake
  }

  get http(): FakeHttp {
    assert.ok(this.#http)
    return this.#http
  }

  config(given: Readonly<Record<string, unknown>> = {}): StoreConfig {
    return {
      kind: 's3',
      settings: {
        endpoint: this.http.url,
        bucket: FAKE_BUCKET,
        credentials: { access_key: 'id', secret_key: 'secret' },
        ...given,
      },
    }
  }

  #handle({ method, path, headers, body }: FakeRequest): FakeAnswer {
    assert.match(headers['authorization'] ?? '', /^AWS4-HMAC-SHA256 Credential=id\//)
    const { pathname } = new URL(path, 'http://fake')
    const isVirtual = headers['host']?.startsWith(`${FAKE_BUCKET}.`)
    const [, key = ''] =
      (isVirtual ? /^\/(.*)$/ : new RegExp(`^/${FAKE_BUCKET}/?(.*)$`)).exec(pathname) ?? []
    if (method === 'PUT') return this.#put(key, headers, body)
    const value = this.objects.get(key)
    if (method === 'DELETE') this.objects.delete(key)
    if (method === 'DELETE') return { status: 204 }
    assert.equal(method, 'GET')
    return value === undefined ? s3Error(404, 'NoSuchKey') : { status: 200, body: value }
  }

  #put(key: string, headers: FakeRequest['headers'], body: string): FakeAnswer {
    assert.equal(headers['if-none-match'], '*')
    assert.equal(headers['content-length'], String(Buffer.byteLength(body)))
    assert.equal(headers['x-amz-trailer'], undefined)
    if (this.#options.ignoresConditions !== true && this.objects.has(key))
      return s3Error(412, 'PreconditionFailed')
    this.objects.set(key, body)
    return { status: 200, headers: { etag: '"x"' } }
  }
}

export function s3Error(status: number, code: string): FakeAnswer {
  return {
    status,
    headers: { 'content-type': 'application/xml' },
    body: `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>About ${code}</Message></Error>`,
  }
}
