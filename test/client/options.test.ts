/** What a client may be made with. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { ApiKey, KesClient, KesClientError, type KesClientOptions } from '#src/client/index.js'

const API_KEY = 'kes:v1:AGaV6VCCLBQ2qz8EV3DOpWGdQ8rjKMXkvNHmVYqMAvnG'

test('an endpoint may be a host, host and port, or an https address', () => {
  const cases: [string | string[], ...string[]][] = [
    ['kes.example.com', 'https://kes.example.com:7373'],
    ['kes.example.com:8443', 'https://kes.example.com:8443'],
    ['https://kes.example.com', 'https://kes.example.com:7373'],
    ['https://kes.example.com/', 'https://kes.example.com:7373'],
    ['https://kes.example.com:443', 'https://kes.example.com:443'],
    ['HTTPS://KES.Example.com:443/', 'https://kes.example.com:443'],
    ['localhost:7373', 'https://localhost:7373'],
    ['127.0.0.1', 'https://127.0.0.1:7373'],
    ['[::1]:1', 'https://[::1]:1'],
    ['https://[fe80::1]', 'https://[fe80::1]:7373'],
    [' a:1 , https://b:2,a:1', 'https://a:1', 'https://b:2'],
    [['a', 'b'], 'https://a:7373', 'https://b:7373'],
  ]
  for (const [endpoints, ...expected] of cases) {
    assert.deepEqual(new KesClient({ endpoints }).endpoints, expected)
  }
})

test('what is no endpoint is refused, with the text that is wrong', () => {
  const bad = ['', 'http://a:1', 'ftp://a', 'kes://a', 'a:0', 'a:65536', 'a:b', 'a:1:2', '::1']
  bad.push('[::1', '[x]:1', 'https://', 'https:///', 'a/b', 'https://a/v1', 'https://a?x')
  bad.push('https://a#x', 'user@a', 'a b', 'https://u:p@a:1', 'a,,b', 'a,http://b', 'ä')
  for (const endpoints of [...bad, ...bad.map((one) => ['good', one])]) {
    assert.throws(
      () => new KesClient({ endpoints }),
      (error) => error instanceof KesClientError && error.code === 'BAD_OPTIONS',
      String(endpoints),
    )
  }
  assert.throws(() => new KesClient({ endpoints: [] }), { message: /at least one/ })
  assert.throws(() => new KesClient({ endpoints: 'http://a:1' }), { message: /HTTPS only/ })
})

test('credentials are an API key, or a certificate with its key, or nothing', () => {
  const endpoints = 'a'
  const good: Partial<KesClientOptions>[] = [
    {},
    { apiKey: API_KEY },
    { apiKey: API_KEY.slice('kes:v1:'.length) },
    { apiKey: ApiKey.generate() },
    { cert: 'PEM', key: Buffer.from('PEM'), passphrase: 'x' },
  ]
  for (const options of good) assert.ok(new KesClient({ endpoints, ...options }))
  const bad: [Partial<KesClientOptions>, RegExp][] = [
    [{ apiKey: '' }, /no API key/],
    [{ apiKey: `${API_KEY}A` }, /no API key/],
    [{ apiKey: API_KEY, cert: 'PEM', key: 'PEM' }, /exclude/],
    [{ apiKey: API_KEY, key: 'PEM' }, /exclude/],
    [{ cert: 'PEM' }, /private key/],
    [{ key: 'PEM' }, /certificate/],
  ]
  for (const [options, message] of bad) {
    assert.throws(() => new KesClient({ endpoints, ...options }), { code: 'BAD_OPTIONS', message })
  }
})

test('times and counts that make no sense are refused', async () => {
  const endpoints = 'a'
  const bad: Partial<KesClientOptions>[] = [
    { timeout: 0 },
    { timeout: -1 },
    { timeout: NaN },
    { timeout: Infinity },
    { attemptTimeout: 0 },
    { connectTimeout: -5 },
    { pingInterval: 2 ** 31 },
    { retries: -1 },
    { retries: 1.5 },
    { enclave: '' },
    { enclave: 'a\nb' },
  ]
  for (const options of bad) {
    assert.throws(() => new KesClient({ endpoints, ...options }), { code: 'BAD_OPTIONS' })
  }
  await assert.rejects(new KesClient({ endpoints }).version({ timeout: 0 }), {
    code: 'BAD_OPTIONS',
  })
})

test('a certificate that cannot be used is the fault of the options, whatever the endpoint', async () => {
  const bad: Partial<KesClientOptions>[] = [
    { cert: 'no PEM', key: 'no PEM' },
    { ca: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n' },
  ]
  for (const options of bad) {
    const client = new KesClient({ endpoints: '127.0.0.1:1', ...options })
    await assert.rejects(client.version(), { code: 'BAD_OPTIONS' })
    await client.close()
  }
})
