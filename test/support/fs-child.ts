/** A process that works on a directory of keys: `fs-child.js race|loop <directory>`. */

import { once } from 'node:events'

import { fs } from '#src/keystore/fs.js'
import { encodeKey } from '#src/keys/codec.js'
import { now } from '#src/time.js'
import { SIGNAL } from './bytes.ts'

const [mode, path = ''] = process.argv.slice(2)
const store = await fs.open({ path }, SIGNAL)
const value = encodeKey({
  cipher: 'AES256',
  secret: Buffer.alloc(32, 1),
  hmacKey: Buffer.alloc(32, 2),
  createdAt: now(),
  createdBy: 'a'.repeat(64),
})

if (mode === 'race') {
  // Ready; then all creates at once, when the parent says so.
  process.stdout.write('\n')
  await once(process.stdin, 'data')
  process.stdin.destroy()
  const outcomes = await Promise.allSettled(
    Array.from({ length: 16 }, (_, index) => store.create(`race-${index}`, value, SIGNAL)),
  )
  const results = outcomes.map((outcome) =>
    outcome.status === 'fulfilled' ? 'won' : (outcome.reason as { code?: string }).code,
  )
  process.stdout.write(JSON.stringify(results))
} else {
  // Until it is killed.
  for (let index = 0; ; index += 4) {
    const names = [0, 1, 2, 3].map((offset) => `key-${process.pid}-${index + offset}`)
    await Promise.all(names.map((name) => store.create(name, value, SIGNAL)))
    if (index === 0) process.stdout.write('\n')
  }
}
