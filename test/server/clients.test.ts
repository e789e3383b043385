/** Clients of others against our own framing: curl and Python's httpx, over both protocols. Go's SDK is in test/interop. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { after, test } from 'node:test'
import { promisify } from 'node:util'

import { startServer, tempDir } from '../support/server.ts'
import { findTool, without } from '../support/tools.ts'

const run = promisify(execFile)
const CHUNKED = '--header Content-Length: --header Transfer-Encoding:chunked --request PUT'.split(
  ' ',
)
const LIMIT = 30_000
const server = await startServer({ after }, { config: 'http: lean\nkeys: [ { name: a } ]' })
const directory = tempDir({ after })
const file = (name: string): string => join(directory, name)
writeFileSync(file('key.pem'), server.admin.key)
writeFileSync(file('cert.pem'), server.admin.cert)
const COMMON = `-sSk --max-time 20 --key ${file('key.pem')} --cert ${file('cert.pem')}`.split(' ')
const PLAINTEXT = Buffer.alloc(700_000, 'x').toString('base64')
writeFileSync(file('large.json'), JSON.stringify({ plaintext: PLAINTEXT }))
writeFileSync(file('too-large.json'), JSON.stringify({ plaintext: PLAINTEXT.repeat(3) }))
const url = (path: string): string => `https://127.0.0.1:${server.port}${path}`

async function curl(
  ...words: readonly string[]
): Promise<{ body: string; protocol: string; status: number }> {
  const { stdout } = await run(
    findTool('curl') ?? 'curl',
    [...COMMON, '--write-out', '\n%{http_version} %{http_code}', ...words],
    { timeout: LIMIT, maxBuffer: 2 ** 26 },
  )
  const end = stdout.lastIndexOf('\n')
  const [protocol = '', status] = stdout.slice(end + 1).split(' ')
  return { body: stdout.slice(0, end), protocol, status: Number(status) }
}

for (const [flag, protocol] of [
  // Its ALPN for HTTP/1.0 is none that we know.
  ['--http1.0 --no-alpn', '1.1'],
  ['--http1.1', '1.1'],
  ['--http2', '2'],
] as const) {
  const flags = flag.split(' ')
  test(
    `curl ${flag}: small and large bodies, refusals and redirects`,
    { skip: without('curl') },
    async () => {
      const version = await curl(...flags, url('/version'))
      assert.deepEqual([version.status, version.protocol], [200, protocol])
      assert.ok(JSON.parse(version.body).version)

      const data = ['--request', 'PUT', '--data-binary']
      const small = await curl(
        ...flags,
        ...data,
        '{"plaintext":"SGVsbG8="}',
        url('/v1/key/encrypt/a'),
      )
      assert.equal(small.status, 200)
      // Curl expects to be told to go on before it sends this.
      const large = await curl(
        ...flags,
        ...data,
        `@${file('large.json')}`,
        url('/v1/key/encrypt/a'),
      )
      assert.equal(large.status, 200)
      writeFileSync(file('sealed.json'), large.body)
      const opened = await curl(
        ...flags,
        ...data,
        `@${file('sealed.json')}`,
        url('/v1/key/decrypt/a'),
      )
      assert.ok(JSON.parse(opened.body).plaintext === PLAINTEXT)

      const refused = await curl(
        ...flags,
        ...data,
        `@${file('too-large.json')}`,
        url('/v1/key/encrypt/a'),
      )
      assert.equal(refused.status, 413)
      const redirected = await curl(...flags, '--location', url('/v1//status'))
      assert.equal(redirected.status, 200)
    },
  )
}

test(
  'curl without a length, and several requests on one connection',
  { skip: without('curl') },
  async () => {
    for (const flag of ['--http1.1', '--http2']) {
      const hmac = url('/v1/key/hmac/a')
      const data = ['--data-binary', '{"message":"SGVsbG8="}']
      const { body, status } = await curl(flag, ...CHUNKED, ...data, hmac, hmac)
      assert.equal(status, 200)
      assert.equal(body.match(/"hmac"/g)?.length, 2)
    }
  },
)

const PYTHON = `
import asyncio, base64, httpx, sys
url, cert, key, http2 = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4] == "h2"

async def main():
    async with httpx.AsyncClient(http2=http2, verify=False, cert=(cert, key), base_url=url) as client:
        async def turn(i):
            text = base64.b64encode(bytes([i % 256]) * (i * 997 % 60000)).decode()
            sealed = await client.put("/v1/key/encrypt/a", json={"plaintext": text})
            assert sealed.status_code == 200, sealed.text
            opened = await client.put("/v1/key/decrypt/a", json=sealed.json())
            assert opened.json()["plaintext"] == text
            return opened.http_version
        print(*sorted(set(await asyncio.gather(*(turn(i) for i in range(100))))))

asyncio.run(main())
`

for (const [http, version] of [
  ['h1', 'HTTP/1.1'],
  ['h2', 'HTTP/2'],
] as const) {
  test(`Python’s httpx over ${http}: a hundred at a time`, { skip: without('httpx') }, async () => {
    const python = join(dirname(findTool('httpx') ?? ''), 'python')
    const { stdout } = await run(
      python,
      ['-c', PYTHON, url(''), file('cert.pem'), file('key.pem'), http],
      { timeout: LIMIT },
    )
    assert.equal(stdout.trim(), version)
  })
}
