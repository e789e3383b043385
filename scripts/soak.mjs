// Runs the soak test: `npm run soak -- --minutes 60`; 10 minutes by default.
import { spawnSync } from 'node:child_process'
import { parseArgs } from 'node:util'

const { values } = parseArgs({ options: { minutes: { type: 'string', default: '10' } } })
const minutes = Number(values.minutes)
if (!(minutes > 0)) throw new Error('--minutes: a number above 0 is expected')
// The load's time, and what it takes to start, to come to rest three times and to stop.
const limit = minutes * 60_000 + 180_000
const { status } = spawnSync(
  process.execPath,
  [
    '--test',
    '--test-reporter=spec',
    `--test-timeout=${Math.ceil(limit)}`,
    'build/test/soak/soak.test.js',
  ],
  { stdio: 'inherit', env: { ...process.env, KES_SOAK_MINUTES: String(minutes) } },
)
process.exit(status ?? 1)
