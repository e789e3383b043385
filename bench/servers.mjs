// Servers to measure, ours and Node's bare ones, and load on them. Everything is on loopback and ends with the process.
import { execFile, execFileSync, spawn } from 'node:child_process'
import {
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { request } from 'node:https'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

import { ApiKey, certificateOf, newCertificate } from '../dist/index.js'

const LOADGEN = 'bench/.bin/loadgen'

try {
  execFileSync('go', ['build', '-o', `../.bin/loadgen`, '.'], {
    cwd: 'bench/loadgen',
    stdio: ['ignore', 'ignore', 'inherit'],
  })
} catch {
  if (!existsSync(LOADGEN)) {
    console.error('SKIPPED: the load generator is a Go program, and Go is missing here')
    process.exit(0)
  }
}

const directory = mkdtempSync(join(tmpdir(), 'kes-bench-'))
const running = new Set()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
  rmSync(directory, { recursive: true, force: true })
})

const admin = ApiKey.generate()
const identity = await certificateOf(admin)
const pair = await newCertificate({
  subject: 'localhost',
  dns: ['localhost'],
  ip: ['127.0.0.1'],
  lifetime: 86_400_000,
})
writeFileSync(file('server.key'), pair.privateKey)
writeFileSync(file('server.cert'), pair.certificate)

/** A path for a file that is gone at the end. */
export function file(name) {
  return join(directory, name)
}

/**
 * Resolves when it answers a request.
 *
 * @param http the implementation of HTTP @param audit events go to a file @param keys directory of the keystore @param flags of `kes server` @param node flags of Node's own
 */
export async function startOurs({
  http = 'lean',
  audit = false,
  keys = file('keys'),
  flags = [],
  node = [],
} = {}) {
  const port = await freePort()
  const config = file(`${port}.yml`)
  writeFileSync(
    config,
    `
address: 127.0.0.1:${port}
admin: { identity: disabled }
tls: { key: ${file('server.key')}, cert: ${file('server.cert')} }
policy:
  bench:
    allow: [ /v1/key/create/*, /v1/key/generate/*, /v1/key/encrypt/*, /v1/key/decrypt/*, /v1/key/list/*, /v1/key/bulk/decrypt/* ]
    identities: [ ${admin.identity} ]
log: { error: off, audit: ${audit ? 'on' : 'off'} }
http: ${http}
keystore: { fs: { path: ${keys} } }
`,
  )
  const begin = performance.now()
  const stdout = audit ? openSync(file(`${port}.log`), 'w') : 'ignore'
  const child = start(
    [...node, 'dist/main.js', 'server', '--config', config, ...flags],
    ['ignore', stdout, 'ignore'],
  )
  // Making a TLS client takes as long as a tenth of a start: not while the server may need the processor.
  while (!(await isOpen(port))) await sleep(1)
  await call(port, 'GET', '/version')
  return { child, port, took: performance.now() - begin }
}

/** A bare server of Node's: bare.mjs says what the modes are. */
export async function startBare(protocol, mode = 'answer') {
  const args = ['bench/bare.mjs', protocol, mode, file('server.key'), file('server.cert')]
  const child = start(args, ['ignore', 'pipe', 'inherit'])
  const port = await new Promise((resolve) =>
    child.stdout.once('data', (line) => resolve(Number(line))),
  )
  return { child, port }
}

/** Runs a script and kills it once it has printed a line. @returns what `look` saw then */
export async function whileRunning(script, look) {
  const child = start(['-e', script], ['ignore', 'pipe', 'inherit'])
  await new Promise((resolve) => child.stdout.once('data', resolve))
  const seen = look({ child })
  await stop({ child })
  return seen
}

export async function stop({ child }) {
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGTERM')
  await ended
  running.delete(child)
}

function start(args, stdio) {
  const child = spawn(process.execPath, args, { stdio })
  running.add(child)
  return child
}

/**
 * A load that does not wait for answers.
 *
 * @param rate requests per second
 * @returns for each status (0: no answer) requests per second, and milliseconds until the answer
 */
export async function openLoad({ port }, { path, body, rate, connections = 4, seconds, warmUp }) {
  const words = { url: `https://127.0.0.1:${port}${path}`, key: admin.reveal(), h2: true }
  Object.assign(words, { rate, body, clients: connections, d: `${seconds}s`, w: `${warmUp}s` })
  const args = Object.entries(words).map(([name, value]) => `-${name}=${value}`)
  const { stdout } = await promisify(execFile)(LOADGEN, args)
  const pattern = /status (\d+)\s+req\/s (\d+)\s+p50 ([\d.]+)ms p99 ([\d.]+)ms/g
  return Object.fromEntries(
    Array.from(stdout.matchAll(pattern), ([, status, ...rest]) => {
      const [rate, p50, p99] = rest.map(Number)
      return [status, { rate, p50, p99 }]
    }),
  )
}

/** @returns requests per second, microseconds of the server's CPU per request, and milliseconds until the answer */
export function load({ child, port }, options) {
  const { protocol = 'h2', operation = 'generate', body = '{}', seconds, warmUp = 0.5 } = options
  const { inFlight = 32, connections = protocol === 'h2' ? Math.min(4, inFlight) : inFlight } =
    options
  const { fresh = false, resume = false, path = `/v1/key/${operation}/bench` } = options
  const words = {
    url: `https://127.0.0.1:${port}${path}`,
    body,
    key: admin.reveal(),
  }
  Object.assign(words, { c: inFlight, clients: connections, d: `${seconds}s`, w: `${warmUp}s` })
  Object.assign(words, { pids: [child.pid, ...childrenOf(child.pid)].join(',') })
  const flags = { h2: protocol === 'h2', fresh, resume }
  const args = Object.entries(words).flatMap(([name, value]) => [`-${name}`, String(value)])
  for (const [name, value] of Object.entries(flags)) args.push(`-${name}=${value}`)
  const out = execFileSync(LOADGEN, args).toString()
  const match = /req\/s (\d+)\s+cpu-us\/req ([\d.]+).*p50 (\S+) p99 (\S+)\s+bad (\d+)/.exec(out)
  if (match === null || match[5] !== '0') throw new Error(`the load generator says: ${out}`)
  const [, rate, cpu, p50, p99] = match
  return { rate: Number(rate), cpu: Number(cpu), p50: millis(p50), p99: millis(p99) }
}

/** Workers. */
function childrenOf(pid) {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean)
}

function millis(duration) {
  const [, number, unit] = /([\d.]+)(µs|ms|s)/.exec(duration)
  return Number(number) * { µs: 0.001, ms: 1, s: 1000 }[unit]
}

/** MiB. */
export function rss({ child }) {
  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8')
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)[1]) / 1024)
}

/** Milliseconds of CPU so far, of all threads. */
export function cpuOf({ child }) {
  const threads = readdirSync(`/proc/${child.pid}/task`)
  const spent = (id) =>
    Number(readFileSync(`/proc/${child.pid}/task/${id}/schedstat`, 'utf8').split(' ')[0])
  return threads.reduce((sum, id) => sum + spent(id), 0) / 1e6
}

export function median(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)]
}

export function call(port, method, path, body) {
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

function isOpen(port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('error', () => resolve(false))
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
  })
}

/** Nobody else has it just now. */
async function freePort() {
  const server = createServer()
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address()
  await new Promise((resolve) => server.close(resolve))
  return port
}
