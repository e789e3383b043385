/**
 * A server under a mixed load for minutes (`npm run soak`): does it use as much after months as on its first day?
 * After a warm-up the load comes in two halves. When nobody is there, after each, what is left after a collection of
 * garbage must be the same but for what the engine itself learns. Under load, the second half is held against the
 * first, with margins that noise does not reach.
 */

import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'

import { certificate } from '../support/certificates.ts'
import { eventually, listening, serverFiles, startByShell } from '../support/process.ts'
import { ask, type AskOptions } from '../support/server.ts'
import { KEYS, Load, type Target } from './load.ts'
import type { Left } from './probe.ts'
import { figure, lowerQuartile, openDescriptors, residentSize, sampleOf } from './samples.ts'
import type { Sample } from './samples.ts'

const MINUTES = Number(process.env['KES_SOAK_MINUTES'] ?? 1)
const MiB = 1_048_576
/** Asks for all families of metrics. */
const FULL = { headers: { accept: 'text/plain;version=0.0.4' } }

interface Stage extends Target {
  readonly directory: string
  ask(method: string, path: string, options?: AskOptions): Promise<string>
  stderr(): string
  stop(): Promise<{ readonly code: number | null }>
}

async function start(t: TestContext): Promise<Stage> {
  const ca = await certificate({ subject: 'ca', ca: true })
  const issue = (subject: string) => certificate({ subject, issuer: ca })
  const [proxy, nobody, stranger] = [
    await issue('proxy'),
    await issue('nobody'),
    await certificate({ subject: 'stranger' }),
  ]
  const users = [await issue('one'), await issue('two'), await issue('three')]
  const allow = ['create', 'generate', 'encrypt', 'decrypt', 'hmac', 'describe', 'delete', 'list']
    .map((operation) => `/v1/key/${operation}/soak-*`)
    .concat('/v1/log/*', '/v1/status')
  const { directory, admin } = await serverFiles(t, {
    tls: `auth: on, ca: ca.pem, proxy: { identities: [ ${proxy.identity} ] }`,
    config: `log: { audit: on }
cache: { expiry: { any: 10s, unused: 2s } }
keys: [ ${KEYS.map((name) => `{ name: ${name} }`).join(', ')} ]
policy:
  soak:
    allow: ${JSON.stringify(allow)}
    identities: [ ${users.map(({ identity }) => identity).join(', ')} ]`,
  })
  writeFileSync(join(directory, 'ca.pem'), ca.cert + admin.cert)
  writeFileSync(join(directory, 'error.log'), '')
  const process_ = startByShell(
    t,
    ['server', '--config', 'config.yml'],
    '>audit.log 2>>error.log',
    {
      cwd: directory,
      env: {
        NODE_OPTIONS: `--import=${pathToFileURL(resolve('build/test/soak/probe.js')).href}`,
        KES_SOAK_PROBE: join(directory, 'left.json'),
      },
    },
  )
  const stderr = (): string => readFileSync(join(directory, 'error.log'), 'utf8')
  const { port, pid, stop } = await listening(process_, stderr)
  return {
    port,
    pid,
    users,
    nobody,
    stranger,
    proxy,
    directory,
    stderr,
    stop,
    ask: async (method, path, options) => {
      const answer = await ask(port, admin, method, path, options)
      assert.equal(answer.status, 200, answer.body)
      return answer.body
    },
  }
}

interface Phase {
  readonly load: Load
  readonly samples: readonly Sample[]
  /** When all its clients have gone. */
  readonly quiet: Quiet
}

/** @param share of the whole time */
async function phase(stage: Stage, share: number): Promise<Phase> {
  const load = new Load(stage)
  await load.start()
  const samples: Sample[] = []
  const end = performance.now() + MINUTES * 60_000 * share
  while (performance.now() < end) {
    await sleep(500)
    samples.push(sampleOf(stage.pid, await stage.ask('GET', '/v1/metrics', FULL)))
  }
  await load.stop()
  return { load, samples, quiet: await quiet(stage) }
}

/** What is left when nobody is there. */
interface Quiet extends Pick<Left, 'heapUsed' | 'external' | 'resources'> {
  readonly rss: number
  readonly descriptors: number
  /** Requests that have not ended. */
  readonly requests: number
}

async function quiet(stage: Stage): Promise<Quiet> {
  await settled(() => openDescriptors(stage.pid))
  const requests = figure(await stage.ask('GET', '/v1/metrics'), 'kes_http_request_active')
  await settled(() => openDescriptors(stage.pid))
  // The least of several looks: garbage is more, never less.
  const looks = [await left(stage), await left(stage), await left(stage)]
  const { heapUsed, external, resources } = looks.reduce((a, b) =>
    a.heapUsed < b.heapUsed ? a : b,
  )
  return {
    heapUsed,
    external,
    resources,
    requests,
    rss: residentSize(stage.pid),
    descriptors: openDescriptors(stage.pid),
  }
}

async function left({ pid, directory }: Stage): Promise<Left> {
  const look = (): Left | undefined => {
    try {
      return JSON.parse(readFileSync(join(directory, 'left.json'), 'utf8')) as Left
    } catch {
      return undefined
    }
  }
  const before = look()?.number ?? 0
  process.kill(pid, 'SIGUSR2')
  return eventually('the probe answers', () => {
    const found = look()
    return found !== undefined && found.number > before && found
  })
}

/** Resolves when a figure has stayed what it is for three seconds: connections have an end of two. */
async function settled(read: () => number): Promise<void> {
  let [value, since] = [read(), performance.now()]
  const limit = since + 30_000
  while (performance.now() - since < 3000 && performance.now() < limit) {
    await sleep(100)
    const next = read()
    if (next !== value) [value, since] = [next, performance.now()]
  }
}

const skip = process.platform === 'linux' ? false : 'reads /proc'

test(`${MINUTES} minutes of everything leave the server as it was`, { skip }, async (t) => {
  const stage = await start(t)
  const warmUp = await phase(stage, 0.25)
  const first = await phase(stage, 0.375)
  const second = await phase(stage, 0.375)
  const phases = [warmUp, first, second]
  const [before, after] = [first.quiet, second.quiet]
  for (const line of table(phases)) t.diagnostic(line)

  await t.test('every call was answered as it must be', () => {
    const faults = phases.flatMap(({ load }) => load.faults)
    assert.deepEqual(faults, [])
    const answers = phases.reduce((sum, { load }) => sum + load.answers, 0)
    assert.ok(answers > MINUTES * 500, `only ${answers} answers: that was no load`)
  })

  await t.test('no request is left when its client has gone', () => {
    assert.deepEqual(
      phases.map(({ quiet: { requests } }) => requests),
      [0, 0, 0],
    )
  })

  await t.test('no memory is left', () => {
    // The engine still compiles what it has seen often.
    assertMost(after.heapUsed, before.heapUsed + 1.25 * MiB, 'bytes on the heap')
    // Buffers, and what sockets and TLS have outside of the engine: there nothing is learnt.
    assertMost(after.external, before.external + 0.3 * MiB, 'bytes outside of the heap')
    // What the process has got from the system and not given back is a matter of luck, within limits.
    assertMost(after.rss, 1.35 * before.rss + 32 * MiB, 'resident bytes')
  })

  await t.test('no descriptor, socket or timer is left', () => {
    assertMost(after.descriptors, before.descriptors + 1, 'descriptors')
    for (const [kind, count] of Object.entries(after.resources))
      assertMost(count, (before.resources[kind] ?? 0) + 1, kind)
  })

  await t.test('under load memory, descriptors and the event loop’s delay stay flat', () => {
    const quartiles = (name: keyof Sample): [number, number] => [
      lowerQuartile(first.samples.map((sample) => sample[name])),
      lowerQuartile(second.samples.map((sample) => sample[name])),
    ]
    const margins = {
      rss: (was: number) => 1.35 * was + 32 * MiB,
      descriptors: (was: number) => 1.25 * was + 10,
      handles: (was: number) => 1.25 * was + 10,
      delay: (was: number) => 3 * was + 30,
    }
    for (const [name, margin] of Object.entries(margins)) {
      const [was, is] = quartiles(name as keyof Sample)
      assertMost(is, margin(was), name)
    }
  })

  await t.test(
    'the server has logged no fault of its own, and stops',
    { timeout: 20_000 },
    async () => {
      const faults = stage.stderr().match(/^.* level=ERROR .*$/gm) ?? []
      assert.deepEqual(faults, [])
      assert.equal((await stage.stop()).code, 0)
    },
  )
})

function assertMost(is: number, most: number, what: string): void {
  assert.ok(is <= most, `${is} ${what}, where ${Math.round(most)} would be the most`)
}

function table(phases: readonly Phase[]): string[] {
  const mib = (bytes: number): string => `${(bytes / MiB).toFixed(1)} MiB`
  return phases.flatMap(({ load, samples, quiet: left }, index) => {
    const quartile = (name: keyof Sample): number =>
      lowerQuartile(samples.map((sample) => sample[name]))
    return [
      `${['warm-up', 'first half', 'second half'][index]}: ${load.answers} answers on ${load.connections} connections; ` +
        `rss ${mib(quartile('rss'))}, descriptors ${quartile('descriptors')}, handles ${quartile('handles')}, ` +
        `delay ${quartile('delay').toFixed(1)} ms`,
      `  and then: heap ${mib(left.heapUsed)}, external ${mib(left.external)}, rss ${mib(left.rss)}, ` +
        `descriptors ${left.descriptors}, ${JSON.stringify(left.resources)}`,
    ]
  })
}
