// Tries the parsers of what strangers send with many more inputs than the tests do: `npm run fuzz -- 1000000` of each kind,
// or until stopped. What fails is kept in test/wire/corpus, and tried first from then on.
import { spawnSync } from 'node:child_process'
import { randomInt } from 'node:crypto'

const ROUND = 50_000
const FILES = ['wire/fuzz', 'crypto/sigv4', 'strict-json'].map(
  (name) => `build/test/${name}.test.js`,
)
const wanted = Number(process.argv[2] ?? Number.POSITIVE_INFINITY)
for (let done = 0; done < wanted; done += ROUND) {
  const seed = randomInt(2 ** 31)
  const { status, stdout } = spawnSync(
    process.execPath,
    ['--test', '--test-reporter=tap', ...FILES],
    {
      env: { ...process.env, KES_FUZZ_RUNS: String(ROUND), KES_FUZZ_SEED: String(seed) },
      encoding: 'utf8',
      maxBuffer: 2 ** 28,
    },
  )
  if (status !== 0) {
    console.log(stdout)
    console.error(`failed with seed ${seed}`)
    process.exit(1)
  }
  console.log(`${done + ROUND} inputs of each kind`)
}
