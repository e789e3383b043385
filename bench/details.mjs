// What each operation costs, with one, 32 and 64 requests in flight, over either protocol and with either implementation of HTTP.
import { call, load, median, rss, startBare, startOurs, stop } from './servers.mjs'

const REQUESTS_FOR_RSS = 100_000
/** Seconds of load before anything is measured: the compiler takes that long to settle. */
const WARM_UP = 5

/** @param print takes a line */
export async function details({ rounds, seconds }, print) {
  print(
    '| protocol | operation | in flight | `http:` | req/s | CPU µs | bare CPU µs | ratio | with crypto CPU µs | ratio | p50 | p99 | bare p50 |',
  )
  print('| --- | --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |')
  const memory = []
  for (const protocol of ['h2', 'h1']) {
    const servers = {
      node: await startOurs({ http: 'node' }),
      lean: await startOurs(),
      bare: await startBare(protocol),
      crypto: await startBare(protocol, 'crypto'),
    }
    await call(servers.node.port, 'PUT', '/v1/key/create/bench')
    const made = await call(servers.node.port, 'PUT', '/v1/key/generate/bench', '{}')
    const { ciphertext } = JSON.parse(made)
    const served = { node: 0, lean: 0, bare: 0, crypto: 0 }
    for (const server of Object.values(servers)) load(server, { protocol, seconds: WARM_UP })
    for (const operation of ['generate', 'decrypt']) {
      const body = operation === 'generate' ? '{}' : JSON.stringify({ ciphertext })
      for (const inFlight of [1, 32, 64]) {
        const samples = { node: [], lean: [], bare: [], crypto: [] }
        for (let round = 0; round < rounds; round++) {
          for (const [name, server] of Object.entries(servers)) {
            const sample = load(server, { protocol, operation, body, inFlight, seconds })
            served[name] += sample.rate * seconds
            samples[name].push(sample)
          }
        }
        for (const http of ['node', 'lean'])
          print(row(protocol, operation, inFlight, http, samples))
      }
    }
    while (Math.min(served.node, served.lean, served.bare) < REQUESTS_FOR_RSS) {
      for (const name of ['node', 'lean', 'bare']) {
        served[name] += load(servers[name], { protocol, seconds }).rate * seconds
      }
    }
    const thousands = (name) => Math.round(served[name] / 1000)
    memory.push(
      `RSS after ${thousands('node')},000 requests over ${protocol}: ${rss(servers.node)} MiB; ` +
        `with \`http: lean\` after ${thousands('lean')},000: ${rss(servers.lean)} MiB; ` +
        `bare server after ${thousands('bare')},000: ${rss(servers.bare)} MiB.`,
    )
    for (const server of Object.values(servers)) await stop(server)
  }
  print('')
  for (const line of memory) print(`${line}\n`)
}

function row(protocol, operation, inFlight, http, { [http]: ours, bare, crypto }) {
  const [a, b, c] = [summary(ours), summary(bare), summary(crypto)]
  const ratio = (others) => median(ours.map(({ cpu }, round) => cpu / others[round].cpu)).toFixed(2)
  const times = [a.p50, a.p99, b.p50].map((time) => `${time.toFixed(2)} ms`)
  const cells = [protocol, operation, inFlight, http, a.rate.toFixed(0), a.cpu.toFixed(1)]
  cells.push(b.cpu.toFixed(1), `**${ratio(bare)}**`, c.cpu.toFixed(1), ratio(crypto), ...times)
  return `| ${cells.join(' | ')} |`
}

function summary(samples) {
  return Object.fromEntries(
    ['rate', 'cpu', 'p50', 'p99'].map((name) => [
      name,
      median(samples.map((sample) => sample[name])),
    ]),
  )
}
