// The yardstick: Node's own server over the same TLS, with a handler that answers `{}`.
// Arguments: h1 or h2, key file, certificate file. Prints the port.
import { readFileSync } from 'node:fs'
import { createSecureServer } from 'node:http2'
import { createServer } from 'node:https'

const [protocol, key, cert] = process.argv.slice(2)
const tls = {
  key: readFileSync(key),
  cert: readFileSync(cert),
  requestCert: true,
  rejectUnauthorized: false,
}
const server = protocol === 'h2' ? createSecureServer(tls) : createServer(tls)
if (protocol === 'h2') {
  server.on('stream', (stream) => {
    stream.on('error', () => {})
    stream.respond({ ':status': 200 })
    stream.end('{}')
  })
} else server.on('request', (_request, response) => response.end('{}'))
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
