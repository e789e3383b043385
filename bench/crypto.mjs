// Large requests: what a handler takes for one, from the bytes of its body to the bytes of its answer (JSON and base64, both ways), against the
// sealing or opening in it and nothing else: neither JSON nor base64. The wire is in neither.
import { randomBytes } from 'node:crypto'

import { KEY_ROUTES } from '../dist/api/kes/keys.js'
import { Key } from '../dist/keys/key.js'
import { median } from './servers.mjs'

const ROUNDS = 31
const NONE = Buffer.alloc(0)
/** The most that fits into a body of 1 MiB in base64. */
const LARGEST = 786_000
const MOST = 1000

export function crypto() {
  const key = new Key({
    cipher: 'AES256',
    secret: randomBytes(32),
    createdAt: { seconds: 0, nanos: 0 },
    createdBy: '',
  })
  const handler = (operation, fields) => {
    const route = KEY_ROUTES.find((one) => one.operation === operation)
    const body = Buffer.from(JSON.stringify(fields))
    const call = { param: 'a', body, hasNoBody: false, realm: { keys: { get: () => key } } }
    return () => {
      const answer = route.handle(call).body
      return typeof answer === 'string' ? Buffer.from(answer) : answer
    }
  }
  const plaintext = randomBytes(LARGEST)
  const ciphertexts = Array.from({ length: MOST }, () => key.dataKey(NONE).ciphertext)
  const base64 = (bytes) => bytes.toString('base64')
  return [
    {
      name: '1 MiB encrypt',
      ratio: compare(handler('key:encrypt', { plaintext: base64(plaintext) }), () =>
        key.encrypt(plaintext, NONE),
      ),
    },
    {
      name: `bulk decrypt of ${MOST}`,
      ratio: compare(
        handler(
          'key:bulk-decrypt',
          ciphertexts.map((ciphertext) => ({ ciphertext: base64(ciphertext) })),
        ),
        () => ciphertexts.forEach((ciphertext) => key.decrypt(ciphertext, NONE)),
      ),
    },
  ]
}

/** In turns, CPU time. */
function compare(whole, bare) {
  const ratios = []
  for (let round = 0; round < ROUNDS; round++) ratios.push(cpu(whole) / cpu(bare))
  return median(ratios)
}

function cpu(work) {
  const begin = process.cpuUsage()
  for (let i = 0; i < 3; i++) work()
  const { user, system } = process.cpuUsage(begin)
  return user + system
}
