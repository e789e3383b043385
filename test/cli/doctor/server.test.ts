import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'

import type { Finding } from '#src/cli/doctor/finding.js'
import { examineServer } from '#src/cli/doctor/server.js'
import { VERSION } from '#src/version.js'
import { deadPort, http1Peer, tcpPeer } from '../../support/peers.ts'
import { people, startServer, type TestServer } from '../../support/server.ts'

const START = 'kes server --config c.yml'

function examine(
  { directory }: Pick<TestServer, 'directory'>,
  port: number,
  { host = '127.0.0.1', auth = false } = {},
): Promise<Finding[]> {
  const tls = {
    key: join(directory, 'server.key'),
    cert: join(directory, 'server.cert'),
    password: '',
    auth,
    ca: '',
    proxy: { identities: [], header: '', admin: false },
  }
  return examineServer({ address: { host, port }, tls }, START)
}

function lines(findings: readonly Finding[]): string[] {
  return findings.map(({ level, what }) => `${level}: ${what}`)
}

test('the server of the config is found, wherever it listens', async (t) => {
  const server = await startServer(t)
  for (const host of ['127.0.0.1', '', '0.0.0.0', 'localhost'])
    assert.match(
      lines(await examine(server, server.port, { host })).join(),
      new RegExp(
        `^ok: version ${VERSION.replaceAll('.', '\\.')} runs at https://(127.0.0.1|localhost):${server.port}$`,
      ),
      host,
    )
})

test('where nobody listens the command that starts it is named', async (t) => {
  const server = await startServer(t)
  const port = await deadPort(t)
  const [finding] = await examine(server, port)
  assert.equal(finding?.level, 'warn')
  assert.equal(finding.what, `nobody listens at https://127.0.0.1:${port}`)
  assert.equal(finding.mend, `start the server: ${START}`)
})

test('what is no KES server is told apart: without TLS, and without the API', async (t) => {
  const server = await startServer(t)
  const plain = await tcpPeer(t, (socket) => socket.end('SSH-2.0-OpenSSH\r\n'))
  assert.match(
    lines(await examine(server, plain.port)).join(),
    /^fail: what listens at .* speaks no TLS as a KES server does: /,
  )
  const web = await http1Peer(t, (response) => response.writeHead(404).end('no such page'))
  assert.match(lines(await examine(server, web.port)).join(), /^fail: /)
})

test('another certificate than the file’s is a warning', async (t) => {
  const server = await startServer(t)
  const { admin } = await people()
  const other = await startServer(t, { certificate: admin }).catch(() => undefined)
  assert.equal(other, undefined, 'a certificate without names is refused at the start')
  const peer = await http1Peer(t, (response) => response.end('{"version":"1","commit":""}'), {
    tls: { cert: admin.cert, key: admin.key },
  })
  assert.deepEqual(lines(await examine(server, peer.port)), [
    `warn: the server at https://127.0.0.1:${peer.port} shows another certificate than the one in tls.cert`,
    `ok: version 1 runs at https://127.0.0.1:${peer.port}`,
  ])
})

test('with tls.auth on nobody is asked who would not be answered', async (t) => {
  const { server: cast } = await people()
  const server = await startServer(t, { tls: 'auth: on', ca: cast.cert })
  const findings = await examine(server, server.port, { auth: true })
  assert.deepEqual(lines(findings), [`ok: listens at https://127.0.0.1:${server.port}`])
})
