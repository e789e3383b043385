// The yardsticks: Node's own servers over the same TLS. Arguments: h1 or h2, `answer` or `crypto`, key file,
// certificate file. Prints the port.
//
// answer: a handler that answers `{}`.
// crypto: one that reads the body and answers a data key sealed by our crypto, with the same headers: what is left of
//   our server without routes, policies, JSON, limits, deadlines, metrics and logs.
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createSecureServer } from 'node:http2'
import { createServer } from 'node:https'

import { Key } from '../dist/keys/key.js'

const [protocol, mode, key, cert] = process.argv.slice(2)
const tls = {
  key: readFileSync(key),
  cert: readFileSync(cert),
  requestCert: true,
  rejectUnauthorized: false,
}
const sealer = new Key({
  cipher: 'AES256',
  secret: randomBytes(32),
  createdAt: { seconds: 0, nanos: 0 },
  createdBy: '',
})
const context = Buffer.alloc(0)
const server = protocol === 'h2' ? createSecureServer(tls) : createServer(tls)
if (protocol === 'h2') server.on('stream', mode === 'crypto' ? sealHttp2 : answerHttp2)
else server.on('request', mode === 'crypto' ? sealHttp1 : (_, response) => response.end('{}'))
server.listen(0, '127.0.0.1', () => console.log(server.address().port))

function answerHttp2(stream) {
  stream.on('error', () => {})
  // A stream whose body nobody reads never ends: the server would leak one per request.
  stream.resume()
  stream.respond({ ':status': 200 })
  stream.end('{}')
}

function sealHttp2(stream) {
  stream.on('error', () => {})
  stream.on('data', () => {
    stream.respond({ ':status': 200, ...headers() })
    stream.end(dataKey())
  })
}

function sealHttp1(request, response) {
  request.on('data', () => {
    response.writeHead(200, headers())
    response.end(dataKey())
  })
}

function headers() {
  return { 'content-length': 181, 'content-type': 'application/json', 'cache-control': 'no-store' }
}

function dataKey() {
  const { plaintext, ciphertext } = sealer.dataKey(context)
  return `{"plaintext":"${plaintext.toString('base64')}","ciphertext":"${ciphertext.toString('base64')}"}\n`
}
