// What a request costs, beside what Node's bare servers cost in the same run: machines are noisy, so only the
// ratios mean anything. `npm run bench -- --rounds 5 --seconds 3`; --write puts the table into docs/performance.md.
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'

import { ApiKey, certificateOf, newCertificate } from '../dist/index.js'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '2' },
    write: { type: 'boolean', default: false },
  },
})
const rounds = Number(values.rounds)
const seconds = Number(values.seconds)
const LOADGEN = 'bench/.bin/loadgen'
const REQUESTS_FOR_RSS = 100_000
/** Seconds of load before anything is measured: the compiler takes that long to settle. */
const WARM_UP = 5

try {
  execFileSync('go', ['build', '-o', `../.bin/loadgen`, '.'], {
    cwd: 'bench/loadgen',
    stdio: ['ignore', 'inherit', 'inherit'],
  })
} catch {
  if (!existsSync(LOADGEN)) {
    console.error('SKIPPED: the load generator is a Go program, and Go is missing here')
    process.exit(0)
  }
}

const directory = mkdtempSync(join(tmpdir(), 'kes-bench-'))
const file = (name) => join(directory, name)
const running = []
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
  rmSync(directory, { recursive: true, force: true })
})

const admin = ApiKey.generate()
const pair = await newCertificate({
  subject: 'localhost',
  dns: ['localhost'],
  ip: ['127.0.0.1'],
  lifetime: 86_400_000,
})
const identity = await certificateOf(admin)
writeFileSync(file('server.key'), pair.privateKey)
writeFileSync(file('server.cert'), pair.certificate)
const config = (http, port) => `
address: 127.0.0.1:${port}
admin: { identity: disabled }
tls: { key: ${file('server.key')}, cert: ${file('server.cert')} }
policy: { bench: { allow: [ /v1/key/create/*, /v1/key/generate/*, /v1/key/decrypt/* ], identities: [ ${admin.identity} ] } }
log: { error: off }
http: ${http}
keystore: { fs: { path: ${file('keys')} } }
`

const lines = []
print(
  `Node ${process.version}, ${cpus().length} cores, ${rounds} rounds of ${seconds} s each, medians; one worker, key cached, logs off.`,
)
print(
  'CPU is that of the server process per request. "bare" answers `{}` to the same load in the same run; "with crypto" is a bare server with our crypto and nothing else.\n',
)
await costs()
await startUp()
if (values.write) {
  const page = readFileSync('docs/performance.md', 'utf8')
  const table = `<!-- bench -->\n\n${lines.join('\n')}\n\n<!-- /bench -->`
  writeFileSync('docs/performance.md', page.replace(/<!-- bench -->.*<!-- \/bench -->/s, table))
}
process.exit(0)

async function costs() {
  print(
    '| protocol | operation | in flight | `http:` | req/s | CPU µs | bare CPU µs | ratio | with crypto CPU µs | ratio | p50 | p99 | bare p50 |',
  )
  print('| --- | --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |')
  const memory = []
  for (const protocol of ['h2', 'h1']) {
    const servers = {
      node: await startOurs('node'),
      lean: await startOurs('lean'),
      bare: await startBare(protocol, 'answer'),
      crypto: await startBare(protocol, 'crypto'),
    }
    await call(servers.node.port, 'PUT', '/v1/key/create/bench')
    const made = await call(servers.node.port, 'PUT', '/v1/key/generate/bench', '{}')
    const { ciphertext } = JSON.parse(made)
    const served = { node: 0, lean: 0, bare: 0, crypto: 0 }
    for (const server of Object.values(servers))
      load(server, protocol, 'generate', '{}', 32, WARM_UP)
    for (const operation of ['generate', 'decrypt']) {
      const body = operation === 'generate' ? '{}' : JSON.stringify({ ciphertext })
      for (const inFlight of [1, 32, 64]) {
        const samples = { node: [], lean: [], bare: [], crypto: [] }
        for (let round = 0; round < rounds; round++) {
          for (const [name, server] of Object.entries(servers)) {
            const sample = load(server, protocol, operation, body, inFlight)
            served[name] += sample.rate * seconds
            samples[name].push(sample)
          }
        }
        for (const http of ['node', 'lean']) row(protocol, operation, inFlight, http, samples)
      }
    }
    while (Math.min(served.node, served.lean, served.bare) < REQUESTS_FOR_RSS) {
      for (const name of ['node', 'lean', 'bare']) {
        served[name] += load(servers[name], protocol, 'generate', '{}', 32).rate * seconds
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
  print(`| ${cells.join(' | ')} |`)
}

async function startUp() {
  const samples = { node: [], ours: [] }
  for (let round = 0; round < rounds * 3; round++) {
    let start = performance.now()
    execFileSync(process.execPath, ['-e', '0'])
    samples.node.push(performance.now() - start)
    start = performance.now()
    const server = await startOurs('node', 17_900 + round)
    samples.ours.push(performance.now() - start)
    await stop(server)
  }
  const [node, ours] = [median(samples.node), median(samples.ours)]
  print(
    `Start-up to the first answer: ${ours.toFixed(0)} ms; bare \`node -e 0\`: ${node.toFixed(0)} ms; ratio **${(ours / node).toFixed(2)}**.`,
  )
}

/** Resolves when it answers a request. */
async function startOurs(http, port = http === 'lean' ? 17_374 : 17_373) {
  writeFileSync(file(`${http}.yml`), config(http, port))
  const child = spawn(
    process.execPath,
    ['dist/main.js', 'server', '--config', file(`${http}.yml`)],
    { stdio: 'ignore' },
  )
  running.push(child)
  for (;;) {
    try {
      await call(port, 'GET', '/version')
      return { child, port }
    } catch {
      await sleep(2)
    }
  }
}

async function startBare(protocol, mode) {
  const child = spawn(process.execPath, [
    'bench/bare.mjs',
    protocol,
    mode,
    file('server.key'),
    file('server.cert'),
  ])
  running.push(child)
  const port = await new Promise((resolve) =>
    child.stdout.once('data', (line) => resolve(Number(line))),
  )
  return { child, port }
}

async function stop({ child }) {
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGTERM')
  await ended
}

function load({ child, port }, protocol, operation, body, inFlight, duration = seconds) {
  const connections = protocol === 'h2' ? Math.min(4, inFlight) : inFlight
  const out = execFileSync(
    LOADGEN,
    [
      '-url',
      `https://127.0.0.1:${port}/v1/key/${operation}/bench`,
      '-body',
      body,
      '-key',
      admin.reveal(),
      '-c',
      inFlight,
      '-clients',
      connections,
      `-h2=${protocol === 'h2'}`,
      '-d',
      `${duration}s`,
      '-w',
      '500ms',
      '-pids',
      child.pid,
    ].map(String),
  ).toString()
  const match = /req\/s (\d+)\s+cpu-us\/req ([\d.]+).*p50 (\S+) p99 (\S+)\s+bad (\d+)/.exec(out)
  if (match === null || match[5] !== '0') throw new Error(`the load generator says: ${out}`)
  return {
    rate: Number(match[1]),
    cpu: Number(match[2]),
    p50: millis(match[3]),
    p99: millis(match[4]),
  }
}

function millis(duration) {
  const [, number, unit] = /([\d.]+)(µs|ms|s)/.exec(duration)
  return Number(number) * { µs: 0.001, ms: 1, s: 1000 }[unit]
}

function summary(samples) {
  return Object.fromEntries(
    ['rate', 'cpu', 'p50', 'p99'].map((name) => [
      name,
      median(samples.map((sample) => sample[name])),
    ]),
  )
}

function median(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)]
}

function rss({ child }) {
  return Math.round(
    Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))[1]) / 1024,
  )
}

function call(port, method, path, body) {
  return new Promise((resolve, reject) => {
    const options = {
      host: '127.0.0.1',
      port,
      method,
      path,
      cert: identity.certificate,
      key: identity.privateKey,
      ca: pair.certificate,
      agent: false,
    }
    const req = request(options, async (response) => {
      let text = ''
      for await (const chunk of response) text += chunk
      resolve(text)
    })
    req.on('error', reject)
    req.end(body)
  })
}

function print(line) {
  console.log(line)
  lines.push(line)
}
