/** A process that works on a keystore: `store-child.js race|loop <StoreConfig as JSON>`. */

import { once } from 'node:events'

import { bytes, SIGNAL } from './bytes.ts'
import { entry } from './keys.ts'
import { openStore, RACE, type StoreConfig } from './stores.ts'

const [mode, config = ''] = process.argv.slice(2)
const ends: (() => unknown)[] = []
const owner = { after: (end: () => unknown) => void ends.push(end) }
const store = await openStore(owner, JSON.parse(config) as StoreConfig)

if (mode === 'race') {
  // Ready; then all creates at once, when the parent says so.
  process.stdout.write('\n')
  await once(process.stdin, 'data')
  process.stdin.destroy()
  const names = Array.from({ length: RACE.names }, (_, index) => `race-${index}`)
  const creates = Array.from({ length: RACE.creates }, (_, index) => index)
  const results = await Promise.all(
    creates.flatMap((index) =>
      names.map(async (name) => {
        const value = bytes(`${process.pid}-${index}`)
        const outcome = await store.create(name, value, SIGNAL).then(
          () => 'won',
          (error: Error & { code?: string }) => error.code ?? error.message,
        )
        return [name, outcome]
      }),
    ),
  )
  process.stdout.write(JSON.stringify(results))
  for (const end of ends) await end()
} else {
  // Until it is killed.
  for (let index = 0; ; index += 4) {
    const names = [0, 1, 2, 3].map((offset) => `key-${process.pid}-${index + offset}`)
    await Promise.all(names.map((name) => store.create(name, entry(), SIGNAL)))
    if (index === 0) process.stdout.write('\n')
  }
}
