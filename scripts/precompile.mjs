// Has what V8 compiles kept beside the command (docs/adr/0012), as the first start of a server keeps it: starts one, asks
// it what servers are asked, and stops it.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { KesClient } from '../dist/client/index.js'
import { ApiKey, newCertificate } from '../dist/index.js'

const directory = mkdtempSync(join(tmpdir(), 'kes-precompile-'))
process.on('exit', () => rmSync(directory, { recursive: true, force: true }))
const file = (name, content) => {
  writeFileSync(join(directory, name), content)
  return join(directory, name)
}
const admin = ApiKey.generate()
const { certificate, privateKey } = await newCertificate({
  subject: 'localhost',
  ip: ['127.0.0.1'],
  lifetime: 86_400_000,
})
const config = file(
  'config.yml',
  `
address: 127.0.0.1:0
admin: { identity: ${admin.identity} }
tls: { key: ${file('server.key', privateKey)}, cert: ${file('server.cert', certificate)} }
policy:
  my-app:
    allow: [ /v1/key/generate/*, /v1/key/decrypt/* ]
    identities: [ ${ApiKey.generate().identity} ]
keystore: { fs: { path: ${join(directory, 'keys')} } }
`,
)
const server = spawn(process.execPath, ['dist/main.js', 'server', '--config', config], {
  stdio: ['ignore', 'ignore', 'pipe'],
})
process.on('exit', () => server.kill('SIGKILL'))
const ended = once(server, 'exit')
let banner = ''
for await (const text of server.stderr) {
  banner += text
  if (/^Logs /m.test(banner)) break
}
const [, endpoint] = /^Endpoints +(\S+)$/m.exec(banner) ?? []
if (endpoint === undefined) throw new Error(`the server does not start:\n${banner}`)
for (const http of ['h1', 'h2']) {
  const client = new KesClient({ endpoints: endpoint, apiKey: admin, ca: certificate, http })
  await client.version()
  await client.createKey(http)
  const { plaintext, ciphertext } = await client.generateKey(http)
  await client.encrypt(http, plaintext)
  await client.decrypt(http, ciphertext)
  await client.close()
}
server.kill('SIGTERM')
await ended
if (!existsSync('dist/kes.cache')) throw new Error('the server has not kept what was compiled')
