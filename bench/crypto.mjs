// Large requests: what a handler takes for one, from the bytes of its body to the bytes of its answer (JSON and base64, both ways), against the
// sealing or opening in it and nothing else: neither JSON nor base64. The wire is in neither.
import { randomBytes } from 'node:crypto'

import { KEY_ROUTES } from '../dist/api/kes/keys.js'
import { Key } from '../dist/keys/key.js'
import { median } from './servers.mjs'

const ROUNDS = 15
/** Rounds before anything counts, and calls of a round: so many that each pays for what it leaves to the collector. */
const [WARM_UP, TIMES] = [3, 50]
const NONE = Buffer.alloc(0)
/** The most that fits into a body of 1 MiB in base64. */
const LARGEST = 786_000
const MOST = 1000

export function crypto() {
  // The first time, malloc gives the system back what is freed and takes it again, 3 times a call. A server, whose memory has
  // other things in it, hardly ever does: 18 times in 50 requests.
  measure()
  return measure()
}

function measure() {
  const key = new Key({
    cipher: 'AES256',
    secret: randomBytes(32),
    createdAt: { seconds: 0, nanos: 0 },
    createdBy: '',
  })
  const handler = (operation, fields) => {
    const route = KEY_ROUTES.find((one) => one.operation === operation)
    const text = Buffer.from(JSON.stringify(fields))
    const body = Buffer.alloc(text.length)
    return {
      // The body is the handler's, which may decode it in its place.
      prepare: () => text.copy(body),
      run() {
        const call = { param: 'a', body, hasNoBody: false, realm: { keys: { get: () => key } } }
        const answer = route.handle(call).body
        return typeof answer === 'string' ? Buffer.from(answer) : answer
      },
    }
  }
  const bare = (run) => ({ prepare: () => {}, run })
  const plaintext = randomBytes(LARGEST)
  const ciphertexts = Array.from({ length: MOST }, () => key.dataKey(NONE).ciphertext)
  const base64 = (bytes) => bytes.toString('base64')
  return [
    {
      name: '1 MiB encrypt',
      ratio: compare(
        handler('key:encrypt', { plaintext: base64(plaintext) }),
        bare(() => key.encrypt(plaintext, NONE)),
      ),
    },
    {
      name: `bulk decrypt of ${MOST}`,
      ratio: compare(
        handler(
          'key:bulk-decrypt',
          ciphertexts.map((ciphertext) => ({ ciphertext: base64(ciphertext) })),
        ),
        bare(() => ciphertexts.forEach((ciphertext) => key.decrypt(ciphertext, NONE))),
      ),
    },
  ]
}

/** In turns, CPU time with the collector's; after a while, as in a server that has run for one. */
function compare(whole, bare) {
  for (const work of [whole, bare]) for (let i = 0; i < WARM_UP; i++) cpu(work)
  const ratios = []
  for (let round = 0; round < ROUNDS; round++) ratios.push(cpu(whole) / cpu(bare))
  return median(ratios)
}

function cpu({ prepare, run }) {
  let spent = 0
  for (let i = 0; i < TIMES; i++) {
    prepare()
    const begin = process.cpuUsage()
    run()
    const { user, system } = process.cpuUsage(begin)
    spent += user + system
  }
  return spent
}
