// Runs compiled test files with node:test, each in a process of its own; arguments narrow the choice
// (`npm test -- cache fs`). What takes minutes has a command of its own, and runs here only when it is asked for.
//
// KES_TEST_RETRY=1, as in CI: files that failed run once more, alone. What passes then is told as FLAKY, and counts
// as passed; CONTRIBUTING.md says why.
import { readdirSync } from 'node:fs'
import { finished } from 'node:stream/promises'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'

const ROOT = 'build/test/'
const SUFFIX = '.test.js'
const COUNTS = ['tests', 'suites', 'pass', 'fail', 'cancelled', 'skipped', 'todo']
/** A line of a file's summary. */
const COUNT = new RegExp(`^(${COUNTS.join('|')}|duration_ms) ([\\d.]+)$`)
/** Of a file, in ms: a machine may be slow, but a file that hangs must not hold the others for ever. */
const LIMIT = 600_000
/** More than processors: many tests wait for time to pass. */
const AT_ONCE = 4
/** Left out unless a word chooses them. */
const APART = [
  { pattern: /^soak\//, command: 'npm run soak' },
  { pattern: /^keystore\/.*-outages?\.test\.js$/, command: 'npm run test:keystores' },
]

const files = chosen(process.argv.slice(2))
if (files.length === 0) {
  console.error(`No test file has ${process.argv.slice(2).join(' or ')} in its path.`)
  process.exit(1)
}
const reporter = new spec()
reporter.pipe(process.stdout)
let rootSummary

const queue = [...files]
const outcomes = new Map()
await Promise.all(
  Array.from({ length: AT_ONCE }, async () => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift())
      outcomes.set(file, await outcomeOf(file))
  }),
)

const flaky = []
if (process.env['KES_TEST_RETRY'] === '1') {
  for (const [file, { failed }] of outcomes) {
    if (failed.length === 0) continue
    const again = await outcomeOf(file)
    if (again.failed.length === 0) flaky.push({ file, failed })
    outcomes.set(file, again)
  }
}

if (rootSummary !== undefined) reporter.write(rootSummary)
reporter.end()
await finished(reporter)
summarise()
process.exitCode = [...outcomes.values()].some(({ failed }) => failed.length > 0) ? 1 : 0

function chosen(words) {
  const all = readdirSync(ROOT, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith(SUFFIX))
    .sort()
  return words.length === 0
    ? all.filter((file) => !APART.some(({ pattern }) => pattern.test(file)))
    : all.filter((file) => !file.startsWith('soak/') && words.some((word) => file.includes(word)))
}

/** Runs a file, and shows what happened when it has ended: events of several would mingle. */
async function outcomeOf(file) {
  const begin = performance.now()
  const events = []
  for await (const event of run({ files: [ROOT + file], timeout: LIMIT })) events.push(event)
  const failed = []
  const counts = {}
  for (const event of events) {
    const { type, data } = event
    const count = type === 'test:diagnostic' && data.nesting === 0 && COUNT.exec(data.message)
    if (type === 'test:summary' && data.file === undefined) rootSummary = event
    else if (count) counts[count[1]] = Number(count[2])
    else reporter.write(event)
    const isCause = data.details?.error?.failureType !== 'subtestsFailed'
    if (type === 'test:fail' && isCause && data.todo === undefined) failed.push(data.name)
  }
  return { failed, counts, took: performance.now() - begin }
}

/** As the runner does; a test that ran twice counts once. */
function summarise() {
  for (const { file, failed } of flaky) console.log(`FLAKY: ${nameOf(file)}: ${failed.join('; ')}`)
  const slowest = [...outcomes].sort(([, a], [, b]) => b.took - a.took).slice(0, 5)
  const times = slowest.map(([file, { took }]) => `${nameOf(file)} ${(took / 1000).toFixed(0)} s`)
  console.log(`ℹ slowest: ${times.join(', ')}`)
  if (process.argv.length === 2)
    console.log(`ℹ left out: ${APART.map(({ command }) => command).join(', ')}`)
  for (const name of COUNTS) {
    const sum = [...outcomes.values()].reduce((all, { counts }) => all + (counts[name] ?? 0), 0)
    console.log(`ℹ ${name} ${sum}`)
  }
  console.log(`ℹ duration_ms ${Math.round(performance.now())}`)
}

function nameOf(file) {
  return file.replace(SUFFIX, '.test.ts')
}
