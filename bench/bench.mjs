// What we promise about speed, and whether it holds: figures beside those of Node's bare servers in the same run, in turns, since machines
// are noisy and only ratios mean anything. Processes are a tenth faster or slower than others of the same program for as long as
// they live, so each round has its own. `npm run bench -- --rounds 5 --seconds 1.5`; --details adds what each operation costs, and
// --write puts the tables into docs/performance.md.
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

import { crypto } from './crypto.mjs'
import { details } from './details.mjs'
import * as servers from './servers.mjs'

const { load, median, startBare, startOurs, stop } = servers

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '1.5' },
    requests: { type: 'string', default: '1000000' },
    keys: { type: 'string', default: '100000' },
    details: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
})
const rounds = Number(values.rounds)
const seconds = Number(values.seconds)
/** Seconds of each kind of load before anything is measured: the compiler takes that long to settle. */
const WARM_UP = 2
/** How often a round measures what differs more from one time to the next than the others do. */
const TIMES = { single: 3, fresh: 2, resumed: 2 }
/** The same of two servers of ours. */
const OWN_TIMES = 4
const FEW_KEYS = 1000

const lines = []
print(
  `Node ${process.version}, ${cpus().length} cores, medians of ${rounds} interleaved rounds, each with its own processes; one worker, key cached, logs off.\n`,
)
print('| | must | goal | measured | |')
print('| --- | ---: | ---: | ---: | --- |')
await requests()
await audit()
await workers()
await startUp()
await memory()
for (const { name, ratio } of crypto())
  row(`${name}: time against the bare crypto`, 2, 1.3, [ratio])
await manyKeys()
if (values.details) {
  print('')
  await details({ rounds: Math.min(rounds, 3), seconds }, print)
}
if (values.write) {
  const page = readFileSync('docs/performance.md', 'utf8')
  const table = `<!-- bench -->\n\n${lines.join('\n')}\n\n<!-- /bench -->`
  writeFileSync(
    'docs/performance.md',
    page.replace(/<!-- bench -->.*<!-- \/bench -->/s, () => table),
  )
}
process.exit(0)

/** Ours and the bare servers under the same loads, in turns. */
async function requests() {
  const once = { protocol: 'h1', inFlight: 8, fresh: true }
  const loads = {
    h2: { protocol: 'h2' },
    h2Decrypt: { protocol: 'h2', operation: 'decrypt' },
    single: { protocol: 'h2', inFlight: 1 },
    h1: { protocol: 'h1' },
    h1Decrypt: { protocol: 'h1', operation: 'decrypt' },
    fresh: once,
    resumed: { ...once, resume: true },
  }
  const ratios = Object.fromEntries(Object.keys(loads).map((name) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    const ours = await startOurs()
    const bare = { h1: await startBare('h1'), h2: await startBare('h2') }
    const body = await decryption(ours)
    const pairs = Object.entries(loads).map(([name, options]) => {
      const all = { ...options, ...(options.operation === 'decrypt' && { body }) }
      const run = (time) =>
        [ours, bare[all.protocol]].map((server) => load(server, { ...all, ...time }))
      return { name, run }
    })
    for (const { run } of pairs) run({ seconds: WARM_UP })
    for (const { name, run } of pairs) {
      const unit = name === 'single' ? 'p50' : 'cpu'
      for (let time = 0; time < (TIMES[name] ?? 1); time++) {
        const [mine, yardstick] = run({ seconds })
        ratios[name].push(mine[unit] / yardstick[unit])
      }
    }
    for (const server of [ours, bare.h1, bare.h2]) await stop(server)
  }
  const of = (...names) => names.map((name) => median(ratios[name]))
  row(
    'HTTP/2, 4 connections, 32 in flight: CPU per generate / decrypt',
    0.75,
    0.55,
    of('h2', 'h2Decrypt'),
  )
  row('HTTP/2, 1 connection, 1 in flight: p50 latency', 1, 0.8, of('single'))
  row('HTTP/1.1, 32 connections: CPU per generate / decrypt', 1.35, 1.05, of('h1', 'h1Decrypt'))
  row(
    'new mTLS connection each time, without / with resumption: CPU',
    1.1,
    1,
    of('fresh', 'resumed'),
  )
}

async function audit() {
  const ratio = await compare({}, { audit: true }, {})
  row('audit log on (file), HTTP/2, 32 in flight: CPU against ours without', 1.15, 1.05, [ratio])
}

/** If it is not there yet: the servers share their keystore. */
function makeKey({ port }) {
  return servers.call(port, 'PUT', '/v1/key/create/bench')
}

/** What opens a new data key. */
async function decryption(server) {
  const { port } = server
  await makeKey(server)
  const { ciphertext } = JSON.parse(await servers.call(port, 'PUT', '/v1/key/generate/bench', '{}'))
  return JSON.stringify({ ciphertext })
}

/** Several processes, where this server can be several. */
async function workers() {
  const help = execFileSync(process.execPath, ['dist/main.js', 'server', '--help']).toString()
  if (!help.includes('--workers')) return
  // Each of the two does half of the work, so they need twice the time to know it as well.
  const two = { flags: ['--workers', '2'], warmUp: 2 * WARM_UP }
  const ratio = await compare({}, two, { inFlight: 64, connections: 8 })
  row('2 workers against 1, 8 connections: CPU per request', 1.2, 1.1, [ratio])
}

/** Two servers of ours that have done the same and no more: what has served more is compiled better. @returns CPU of the other one, in parts of the first one's */
async function compare(one, other, options) {
  const ratios = []
  for (let round = 0; round < rounds; round++) {
    const pair = []
    for (const { warmUp = WARM_UP, ...how } of [one, other]) {
      const server = await startOurs(how)
      await makeKey(server)
      pair.push(server)
      load(server, { ...options, seconds: warmUp })
    }
    for (let time = 0; time < OWN_TIMES; time++) {
      const [first, second] = pair.map((server) => load(server, { ...options, seconds }).cpu)
      ratios.push(second / first)
    }
    for (const server of pair) await stop(server)
  }
  return median(ratios)
}

async function startUp() {
  const ratios = []
  for (let round = 0; round < rounds * 3; round++) {
    const begin = performance.now()
    execFileSync(process.execPath, ['-e', '0'])
    const node = performance.now() - begin
    const server = await startOurs()
    ratios.push(server.took / node)
    await stop(server)
  }
  row('start-up to the first answer, against bare Node’s start and end', 2, 1.5, [median(ratios)])
}

async function memory() {
  const node = await servers.whileRunning('console.log(0);setInterval(() => {}, 1000)', servers.rss)
  const server = await startOurs()
  const idle = servers.rss(server) - node
  let served = 0
  while (served < Number(values.requests))
    served += load(server, { seconds: 10, warmUp: 0 }).rate * 10
  const after = servers.rss(server) - node
  await stop(server)
  const count = served.toFixed(0).replace(/\B(?=(\d{3})+$)/g, ',')
  row('RSS idle, above bare Node’s (MiB)', 50, 25, [idle])
  row(`RSS after ${count} requests, above bare Node’s (MiB)`, 80, 50, [after])
}

/** A keystore with many keys against one with few. */
async function manyKeys() {
  const [few, many] = [FEW_KEYS, Number(values.keys)].map(directoryOf)
  const starts = []
  for (let round = 0; round < rounds * 2; round++) {
    const took = []
    for (const keys of [few, many]) {
      const server = await startOurs({ keys })
      took.push(server.took)
      await stop(server)
    }
    starts.push(took[1] / took[0])
  }
  const [small, large] = [await startOurs({ keys: few }), await startOurs({ keys: many })]
  const pages = []
  for (let round = 0; round < rounds * 4; round++) {
    const took = []
    for (const { port } of [small, large]) {
      const begin = performance.now()
      await servers.call(port, 'GET', '/v1/key/list/')
      took.push(performance.now() - begin)
    }
    pages.push(took[1] / took[0])
  }
  for (const server of [small, large]) await stop(server)
  const names = `${values.keys} keys on fs against ${FEW_KEYS}`
  row(`${names}: list of a page`, 2, undefined, [median(pages)])
  row(`${names}: start-up`, 1.1, undefined, [median(starts)])
}

/** So many keys: the entry of the first one under other names, which is all that a listing looks at. */
function directoryOf(count) {
  const directory = servers.file(`keys-${count}`)
  mkdirSync(directory)
  const [name] = readdirSync(servers.file('keys'))
  const entry = join(servers.file('keys'), name)
  for (let i = 0; i < count; i++)
    cpSync(entry, join(directory, `key-${String(i).padStart(6, '0')}`))
  return directory
}

function row(name, must, goal, measured) {
  const worst = Math.max(...measured)
  const verdict = worst <= (goal ?? -1) ? '**goal**' : worst <= must ? 'met' : '**missed**'
  const figures = measured.map((figure) =>
    Number.isInteger(figure) ? String(figure) : figure.toFixed(2),
  )
  print(`| ${name} | ${must} | ${goal ?? ''} | ${figures.join(' / ')} | ${verdict} |`)
}

function print(line) {
  console.log(line)
  lines.push(line)
}
