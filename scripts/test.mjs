// Runs every compiled test file with node:test; arguments narrow the choice (`npm test -- cache fs`). The soak test
// takes minutes and has a command of its own.
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'

const words = process.argv.slice(2)
const files = readdirSync('build/test', { recursive: true, encoding: 'utf8' })
  .filter(
    (file) =>
      file.endsWith('.test.js') &&
      !file.startsWith('soak/') &&
      (words.length === 0 || words.some((word) => file.includes(word))),
  )
  .map((file) => `build/test/${file}`)
  .sort()
const { status } = spawnSync(
  process.execPath,
  ['--test', '--test-reporter=spec', '--test-timeout=300000', '--test-concurrency=3', ...files],
  {
    stdio: 'inherit',
  },
)
process.exit(status ?? 1)
