/** AWS Secrets Manager as its API reference describes it, as far as a keystore sees it; it checks signatures. */

import assert from 'node:assert/strict'
import { createHash, createHmac } from 'node:crypto'

import { type FakeAnswer, FakeHttp, type FakeRequest } from './fake-http.ts'
import { Fixtures } from './fixtures.ts'
import type { Owner } from './server.ts'
import type { StoreConfig } from './stores.ts'

const REGION = 'eu-test-1'
const FIXTURES = new Fixtures('aws.json', {
  'amz-date': /^\d{8}T\d{6}Z$/,
  digits: /^\d+$/,
  sigv4:
    /^AWS4-HMAC-SHA256 Credential=\w+\/\d{8}\/[\w-]+\/secretsmanager\/aws4_request, SignedHeaders=[\w;-]+, Signature=[0-9a-f]{64}$/,
})

interface Entry {
  readonly value: string | Buffer
  readonly version: string
  isPending: boolean
}

export class AwsFake {
  /** Access keys: secret and token. */
  readonly accessKeys = new Map([['AKTEST', { secret: 'secret-of-AKTEST', token: '' }]])
  readonly entries = new Map<string, Entry>()
  /** Names whose deletion is not over at once; until `finishDeletions`. */
  slowDeletions = false
  #http: FakeHttp | undefined

  static async start(
    t: Owner,
    tls?: { readonly key: string; readonly cert: string },
  ): Promise<AwsFake> {
    const fake = new AwsFake()
    fake.#http = await FakeHttp.start(t, (request) => fake.#answer(request), tls)
    return fake
  }

  get http(): FakeHttp {
    assert.ok(this.#http)
    return this.#http
  }

  config(settings: Readonly<Record<string, unknown>> = {}): StoreConfig {
    return {
      kind: 'aws.secretsmanager',
      settings: {
        endpoint: this.http.url,
        region: REGION,
        credentials: { accesskey: 'AKTEST', secretkey: 'secret-of-AKTEST' },
        ...settings,
      },
    }
  }

  finishDeletions(): void {
    for (const [name, { isPending }] of this.entries) if (isPending) this.entries.delete(name)
  }

  #answer(request: FakeRequest): FakeAnswer {
    const target = request.headers['x-amz-target']?.replace('secretsmanager.', '') ?? ''
    const operation = FIXTURES.operation(request, target)
    const refusal = this.#refusal(request)
    if (refusal !== undefined) return failure(400, refusal)
    const body = JSON.parse(request.body) as Readonly<Record<string, string>>
    switch (operation) {
      case 'CreateSecret':
        return this.#create(body)
      case 'GetSecretValue':
        return this.#get(body['SecretId'] ?? '')
      case 'DeleteSecret':
        return this.#delete(body['SecretId'] ?? '')
      default:
        return this.#list(Number(body['MaxResults']), body['NextToken'])
    }
  }

  #create(body: Readonly<Record<string, string>>): FakeAnswer {
    const { Name: name = '', SecretString: value = '', ClientRequestToken: version = '' } = body
    const entry = this.entries.get(name)
    if (entry?.isPending === true)
      return failure(
        400,
        'InvalidRequestException',
        `You can't create this secret because a secret with this name is already scheduled for deletion.`,
      )
    if (entry !== undefined)
      return failure(400, 'ResourceExistsException', `the secret ${name} already exists`)
    this.entries.set(name, { value, version, isPending: false })
    return success({ ARN: arn(name), Name: name, VersionId: version })
  }

  #get(name: string): FakeAnswer {
    const entry = this.entries.get(name)
    if (entry === undefined)
      return failure(
        400,
        'ResourceNotFoundException',
        "Secrets Manager can't find the specified secret.",
      )
    if (entry.isPending)
      return failure(
        400,
        'InvalidRequestException',
        `You can't perform this operation on the secret because it was marked for deletion.`,
      )
    const { value, version } = entry
    const content =
      typeof value === 'string'
        ? { SecretString: value }
        : { SecretBinary: value.toString('base64') }
    return success({ ARN: arn(name), Name: name, VersionId: version, ...content })
  }

  /** A forced deletion of what is not there is a success. */
  #delete(name: string): FakeAnswer {
    const entry = this.entries.get(name)
    if (entry !== undefined && this.slowDeletions) entry.isPending = true
    else this.entries.delete(name)
    return success({ ARN: arn(name), Name: name, DeletionDate: 1.7e9 })
  }

  #list(size: number, token = 'page 0'): FakeAnswer {
    const begin = Number(token.replace('page ', ''))
    const all = [...this.entries].filter(([, { isPending }]) => !isPending).map(([name]) => name)
    return success({
      SecretList: all.slice(begin, begin + size).map((name) => ({ ARN: arn(name), Name: name })),
      ...(begin + size < all.length && { NextToken: `page ${begin + size}` }),
    })
  }

  /** Signature Version 4, as AWS's documents compute it. */
  #refusal({ method, path, headers, body }: FakeRequest): string | undefined {
    const match =
      /Credential=(\w+)\/((\d{8})\/([\w-]+)\/(\w+)\/aws4_request), SignedHeaders=([\w;-]+), Signature=(\w+)/.exec(
        headers['authorization'] ?? '',
      )
    assert.ok(match)
    const [, id = '', scope = '', day = '', region = '', service = '', names = '', signature] =
      match
    assert.equal(region, REGION)
    const key = this.accessKeys.get(id)
    if (key === undefined) return 'UnrecognizedClientException'
    if (key.token !== (headers['x-amz-security-token'] ?? '')) return 'ExpiredTokenException'
    const canonical = [
      method,
      path,
      '',
      ...names.split(';').map((name) => `${name}:${headers[name] ?? ''}`),
      '',
      names,
      sha256(body),
    ].join('\n')
    const text = ['AWS4-HMAC-SHA256', headers['x-amz-date'], scope, sha256(canonical)].join('\n')
    const signing = [day, region, service, 'aws4_request'].reduce<Buffer | string>(
      (secret, part) => hmac(secret, part),
      `AWS4${key.secret}`,
    )
    const isRight = hmac(signing, text).toString('hex') === signature
    return isRight ? undefined : 'InvalidSignatureException'
  }
}

function success(body: object): FakeAnswer {
  return { status: 200, headers: { 'content-type': 'application/x-amz-json-1.1' }, body }
}

/** As AWS answers: the type in the body. */
export function failure(status: number, type: string, message = 'no'): FakeAnswer {
  return { ...success({ __type: type, Message: message, message }), status }
}

function arn(name: string): string {
  return `arn:aws:secretsmanager:${REGION}:123456789012:secret:${name}-a1B2c3`
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

function hmac(key: Buffer | string, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}
