// More requests than the server can do: clients that know nothing of each other ask at a rate of their own, whether they are answered or not.
// Each request decrypts many ciphertexts, so that the server, not the load generator, is what is too slow. `npm run bench:overload -- --seconds 8`
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'

import { call, load, openLoad, rss, startOurs, stop } from './servers.mjs'

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '8' } } })
const ENTRIES = 200
const PATH = '/v1/key/bulk/decrypt/bench'
/** Seconds of each rate before anything is measured: an overload counts once it has lasted for one. */
const WARM_UP = 3

const server = await startOurs()
await call(server.port, 'PUT', '/v1/key/create/bench')
const { ciphertext } = JSON.parse(await call(server.port, 'PUT', '/v1/key/generate/bench', '{}'))
const body = JSON.stringify(Array.from({ length: ENTRIES }, () => ({ ciphertext })))
const closed = { path: PATH, body, inFlight: 16 }
load(server, { ...closed, seconds: 2 })
const { rate: most } = load(server, { ...closed, seconds: 3 })

console.log(
  `Node ${process.version}, ${cpus().length} cores; bulk decryptions of ${ENTRIES} over HTTP/2, of which the server does ${most} a second when 16 are asked for at a time.\n`,
)
console.log('| asked for, per second | answered | p50 | p99 | refused | p50 | p99 | RSS |')
console.log('| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |')
for (const factor of [0.5, 1, 2, 4]) {
  const rate = Math.round(most * factor)
  const seen = await openLoad(server, {
    path: PATH,
    body,
    rate,
    seconds: Number(values.seconds),
    warmUp: WARM_UP,
  })
  const { 200: right, 503: refused, ...others } = seen
  const lost = Object.keys(others)
  if (lost.length > 0) throw new Error(`answers with status ${lost.join(', ')}`)
  console.log(`| ${rate} (${factor}×) | ${cells(right)} | ${cells(refused)} | ${rss(server)} MiB |`)
}
await stop(server)
process.exit(0)

function cells(part) {
  if (part === undefined) return '0 | | '
  const { rate, p50, p99 } = part
  return `${rate} | ${p50.toFixed(0)} ms | ${p99.toFixed(0)} ms`
}
