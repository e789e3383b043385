// Runs the end-to-end tests against the command as users get it: packed, installed globally without install scripts, away
// from this directory. `npm run test:packed -- reload proxy` narrows the choice.
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const prefix = mkdtempSync(join(tmpdir(), 'kes-packed-'))
process.on('exit', () => rmSync(prefix, { recursive: true, force: true }))

const packed = execFileSync('npm', [
  'pack',
  '--json',
  '--ignore-scripts',
  '--pack-destination',
  prefix,
])
const [{ filename }] = JSON.parse(packed.toString())
execFileSync(
  'npm',
  [
    'install',
    '--global',
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    '--prefix',
    prefix,
    join(prefix, filename),
  ],
  { stdio: ['ignore', 'ignore', 'inherit'] },
)
const main = join(prefix, 'lib/node_modules/openkes/dist/main.js')
const words = process.argv.slice(2).map((word) => `e2e/${word}`)
const { status } = spawnSync(
  process.execPath,
  ['scripts/test.mjs', ...(words.length > 0 ? words : ['e2e/'])],
  { stdio: 'inherit', env: { ...process.env, KES_TEST_MAIN: main } },
)
process.exit(status ?? 1)
