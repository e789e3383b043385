// What keystores cost: creates and reads of the keystore itself, and decryption with a cached key, which must not depend on it. Those
// whose servers are installed, on loopback and without TLS: the network that a real one is behind comes on top.
// `npm run bench:keystores -- --seconds 3`
import { writeFileSync } from 'node:fs'
import { connect } from 'node:http2'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

import { SIGNAL } from '../build/test/support/bytes.js'
import { TestEtcd } from '../build/test/support/etcd.js'
import { entry } from '../build/test/support/keys.js'
import { TestPostgres } from '../build/test/support/postgres.js'
import { startServerProcess } from '../build/test/support/process.js'
import { people, tempDir } from '../build/test/support/server.js'
import { keyStoreYaml, openStore } from '../build/test/support/stores.js'
import { without } from '../build/test/support/tools.js'
import { Weed } from '../build/test/support/weed.js'

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '3' } } })
const millis = Number(values.seconds) * 1000
const IN_FLIGHT = 16
const WARM_UP = 500
const ROUNDS = 5

/** What makes a keystore, and the programs that it needs. */
const SUBJECTS = [
  { name: 'memory', start: async () => ({ config: () => ({ kind: 'memory', settings: {} }) }) },
  {
    name: 'fs',
    start: async (owner) => ({
      config: () => ({ kind: 'fs', settings: { path: join(tempDir(owner), 'keys') } }),
    }),
  },
  { name: 'postgres', needs: ['initdb'], start: (owner) => TestPostgres.start(owner) },
  { name: 'etcd', needs: ['etcd'], start: (owner) => TestEtcd.start(owner) },
  {
    name: 'etcd, three members',
    needs: ['etcd'],
    start: (owner) => TestEtcd.start(owner, { members: 3 }),
  },
  { name: 's3', needs: ['weed'], start: (owner) => Weed.start(owner) },
]

const ends = []
const owner = { after: (end) => void ends.push(end) }
try {
  await compare()
} finally {
  for (const end of ends.toReversed()) await end()
}

async function compare() {
  console.log(
    `Node ${process.version}, ${cpus().length} cores, ${values.seconds} s each, ${IN_FLIGHT} calls in flight; all on one machine.\n`,
  )
  console.log('| keystore | create | p50 | p99 | get | p50 | p99 |')
  console.log('| --- | ---: | ---: | ---: | ---: | ---: | ---: |')
  const subjects = []
  for (const { name, needs = [], start } of SUBJECTS) {
    const missing = without(...needs)
    if (missing !== false) {
      console.log(`| ${name} | ${missing} | | | | | |`)
      continue
    }
    const subject = await start(owner)
    await row(name, await openStore(owner, subject.config()))
    const decrypt = await decryption(subject.config())
    await load(decrypt, WARM_UP)
    subjects.push({ name, decrypt, rates: [] })
  }
  // In turns, so that what else the machine does falls on all of them.
  for (let round = 0; round < ROUNDS; round++)
    for (const { decrypt, rates } of subjects) rates.push((await load(decrypt)).rate)
  console.log(`\n| keystore | decrypt with a cached key, median of ${ROUNDS} |`)
  console.log('| --- | ---: |')
  for (const { name, rates } of subjects) {
    const median = rates.sort((a, b) => a - b)[Math.floor(ROUNDS / 2)]
    console.log(`| ${name} | ${median.toFixed(0)}/s |`)
  }
}

async function row(name, store) {
  const value = entry()
  let made = 0
  const creates = await load(() => store.create(`key-${++made}`, value, SIGNAL))
  let read = 0
  const gets = await load(() => store.get(`key-${(++read % made) + 1}`, SIGNAL))
  const cells = [creates, gets].flatMap(({ rate, p50, p99 }) => [
    `${rate.toFixed(0)}/s`,
    `${p50.toFixed(2)} ms`,
    `${p99.toFixed(2)} ms`,
  ])
  console.log(`| ${[name, ...cells].join(' | ')} |`)
}

/** Calls, so many at a time. @returns calls per second, and how many milliseconds one took */
async function load(call, limit = millis) {
  const times = []
  const begin = performance.now()
  const worker = async () => {
    while (performance.now() < begin + limit) {
      const start = performance.now()
      await call()
      times.push(performance.now() - start)
    }
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker))
  const rate = (times.length / (performance.now() - begin)) * 1000
  times.sort((a, b) => a - b)
  const at = (share) => times[Math.floor(times.length * share)]
  return { rate, p50: at(0.5), p99: at(0.99) }
}

/** A call that lets a server on the keystore decrypt with a key that it has in its cache. */
async function decryption(config) {
  const { server, admin } = await people()
  const directory = tempDir(owner)
  const file = (name, text) => {
    writeFileSync(join(directory, name), text)
    return join(directory, name)
  }
  const path = file(
    'kes.yml',
    `address: 127.0.0.1:0
admin: { identity: ${admin.identity} }
tls: { key: ${file('server.key', server.key)}, cert: ${file('server.cert', server.cert)} }
log: { error: off }
cache: { expiry: { any: 1h, unused: 1h } }
${keyStoreYaml(config)}`,
  )
  const { port } = await startServerProcess(owner, ['--config', path])
  const session = connect(`https://127.0.0.1:${port}`, { ...admin, rejectUnauthorized: false })
  owner.after(() => session.destroy())
  await ask(session, '/v1/key/create/bench', '')
  const { ciphertext } = JSON.parse(await ask(session, '/v1/key/generate/bench', '{}'))
  const body = JSON.stringify({ ciphertext })
  return () => ask(session, '/v1/key/decrypt/bench', body)
}

function ask(session, path, body) {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ':method': 'PUT', ':path': path })
    let text = ''
    let status = 0
    stream.on('response', (head) => (status = head[':status']))
    stream.on('data', (chunk) => (text += chunk))
    stream.on('error', reject)
    stream.on('end', () => {
      if (status === 200) resolve(text)
      else reject(new Error(`${path}: ${status} ${text}`))
    })
    stream.end(body)
  })
}
