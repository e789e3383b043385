/** The signers that people use: awscurl, botocore's, and that of AWS's SDK for JavaScript. */

import assert from 'node:assert/strict'
import { createHash, createHmac } from 'node:crypto'
import { test } from 'node:test'

import { SignatureV4 } from '@smithy/signature-v4'

import { run } from '../../support/process.ts'
import { OPS, PREFIX, type RustfsServer, sendTo, startRustfs } from '../../support/rustfs.ts'
import type { Owner } from '../../support/server.ts'
import { findTool, without } from '../../support/tools.ts'

const CREATE = '{"Description":"ä b+c","Tags":{"owner":"security"}}'
const PATHS = [
  '/keys?limit=5&marker=a-b',
  '/keys?x=a%20b&y=%C3%A4&x=1',
  '/keys/missing-key',
  '/keys/%41',
]

function urlOf({ door, isPrivate }: RustfsServer): string {
  return `${isPrivate ? 'https' : 'http'}://127.0.0.1:${door}`
}

for (const [where, options] of [
  ['plain HTTP', {}],
  ['TLS', { address: '0.0.0.0:0' }],
] as const) {
  test(`awscurl speaks with the server over ${where}`, { skip: without('awscurl') }, async (t) => {
    const server = await startRustfs(t, options)
    const ask = async (args: readonly string[], path: string): Promise<string> => {
      const key = ['--access_key', OPS.accessKey, '--secret_key', OPS.secret]
      const command = [findTool('awscurl') ?? '', ...key, ...args, urlOf(server) + path]
      const { stdout, stderr } = await run(t, command)
      assert.doesNotMatch(stderr, /Traceback/)
      return stdout
    }
    // execute-api is its default.
    for (const service of [['--service', 's3'], []]) {
      const made = await ask([...service, '-k', '-X', 'POST', '-d', CREATE], `${PREFIX}/keys`)
      assert.match(made, /"description":"ä b\+c"/)
      const listed = await ask([...service, '-k'], `${PREFIX}/keys?limit=5&status=Active`)
      assert.match(listed, /"keys":\[\{"key_id"/)
    }
    assert.match(await ask(['-k'], '/minio/admin/v3/kms/status'), /"status":"Running"/)
  })
}

/** Signs as boto3 does, and sends it with what urllib makes of it. */
const BOTOCORE = `
import json, ssl, sys, urllib.request, urllib.error
from botocore.auth import SigV4Auth, S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
url, access, secret, service, requests = sys.argv[1:]
context = ssl._create_unverified_context()
for method, path, body in json.loads(requests):
    request = AWSRequest(method=method, url=url + path, data=body and body.encode())
    (S3SigV4Auth if service == 's3' else SigV4Auth)(Credentials(access, secret), service, 'eu-west-9').add_auth(request)
    prepared = request.prepare()
    sent = urllib.request.Request(prepared.url, data=prepared.body, headers=dict(prepared.headers), method=method)
    try:
        with urllib.request.urlopen(sent, context=context) as answer: print(answer.status)
    except urllib.error.HTTPError as error: print(error.code, error.read().decode())
`

for (const service of ['s3', 'sts', 'execute-api']) {
  test(`botocore signs for ${service}`, { skip: without('moto_server') }, async (t) => {
    const server = await startRustfs(t)
    const requests = [
      ['POST', `${PREFIX}/keys`, CREATE],
      ...PATHS.map((path) => ['GET', PREFIX + path, null]),
    ]
    const python = (findTool('moto_server') ?? '').replace(/moto_server$/, 'python3')
    const args = [urlOf(server), OPS.accessKey, OPS.secret, service, JSON.stringify(requests)]
    const { stdout, stderr } = await run(t, [python, '-c', BOTOCORE, ...args])
    const statuses = stdout.match(/^\d+/gm)
    assert.deepEqual(statuses, ['200', '200', '200', '404', '404'], stdout + stderr)
  })
}

/** SHA-256 as the SDK wants it. */
class Sha256 {
  readonly #hash: { update(data: Uint8Array | string): unknown; digest(): Buffer }

  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    const bytes = typeof secret === 'string' ? Buffer.from(secret) : viewOf(secret)
    this.#hash = bytes === undefined ? createHash('sha256') : createHmac('sha256', bytes)
  }

  update(data: Uint8Array | string): void {
    this.#hash.update(data)
  }

  async digest(): Promise<Uint8Array> {
    return this.#hash.digest()
  }

  reset(): void {
    throw new Error('not needed')
  }
}

function viewOf(secret: ArrayBuffer | ArrayBufferView | undefined): Uint8Array | undefined {
  if (secret === undefined) return undefined
  return ArrayBuffer.isView(secret)
    ? new Uint8Array(secret.buffer, secret.byteOffset, secret.byteLength)
    : new Uint8Array(secret)
}

async function bySdk(t: Owner, service: string): Promise<number[]> {
  const server = await startRustfs(t)
  const signer = new SignatureV4({
    service,
    region: 'us-east-1',
    credentials: { accessKeyId: OPS.accessKey, secretAccessKey: OPS.secret },
    sha256: Sha256,
    // As the SDK does for S3.
    uriEscapePath: service !== 's3',
  })
  const statuses: number[] = []
  for (const [method, target, body] of [
    ['POST', `${PREFIX}/keys`, CREATE],
    ...PATHS.map((path) => ['GET', PREFIX + path, undefined] as const),
  ] as const) {
    const url = new URL(urlOf(server) + target)
    const query: Record<string, string | string[]> = {}
    for (const name of url.searchParams.keys()) query[name] = url.searchParams.getAll(name)
    const { headers } = await signer.sign({
      method,
      protocol: url.protocol,
      hostname: url.hostname,
      path: url.pathname,
      query,
      headers: { host: url.host },
      ...(body !== undefined && { body }),
    })
    const answer = await sendTo(server, {
      method,
      target,
      headers,
      ...(body !== undefined && { body }),
    })
    statuses.push(answer.status)
  }
  return statuses
}

for (const service of ['s3', 'sts', 'execute-api']) {
  test(`AWS’s SDK for JavaScript signs for ${service}`, async (t) => {
    assert.deepEqual(await bySdk(t, service), [200, 200, 200, 404, 404])
  })
}
