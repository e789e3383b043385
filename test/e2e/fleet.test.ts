/**
 * A fleet that upgrades client by client: clients of three generations of the KES API, one server process, one key, and
 * every ciphertext opened by every other client (kes-dialects.md).
 */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { certificate } from '../support/certificates.ts'
import { serverFiles, startServerProcess } from '../support/process.ts'
import { openSession, type Session } from '../support/session.ts'

const GENERATIONS = ['current', 'v0.18', 'v0.7'] as const
type Generation = (typeof GENERATIONS)[number]

const REQUESTS = 10_000
const IN_FLIGHT = 24

/** How a client of its time writes its rules, and asks. */
const HABITS: Readonly<Record<Generation, { rules: object; verb: string }>> = {
  current: { rules: { allow: ['/v1/key/*'] }, verb: 'PUT' },
  'v0.18': { rules: { allow: ['/v1/key/*/shared', '/v1/key/list/*'] }, verb: 'POST' },
  'v0.7': { rules: { paths: ['/v1/key/*/shared', '/v1/key/bulk/decrypt/shared'] }, verb: 'POST' },
}

interface Client {
  readonly generation: Generation
  readonly session: Session
}

interface Sealed {
  readonly by: number
  readonly plaintext: string
  readonly ciphertext: string
  readonly context: string
}

test('clients of three generations open what each other sealed, in 10,000 interleaved requests', async (t) => {
  const people = await Promise.all(
    GENERATIONS.map(async (generation) => ({
      generation,
      who: await certificate({ subject: generation }),
    })),
  )
  const policies = people.map(({ generation, who }) => {
    const { rules } = HABITS[generation]
    return `  "${generation}": ${JSON.stringify({ ...rules, dialect: generation, identities: [who.identity] })}`
  })
  const files = await serverFiles(t, {
    config: `policy:\n${policies.join('\n')}\nkeys: [ { name: shared } ]`,
  })
  const { port } = await startServerProcess(t, ['--config', 'config.yml'], { cwd: files.directory })
  const clients: Client[] = await Promise.all(
    people.map(async ({ generation, who }) => ({
      generation,
      session: await openSession(t, port, who),
    })),
  )

  let asked = 0
  const call = async (client: Client, path: string, body: unknown): Promise<never> => {
    asked++
    const { verb } = HABITS[client.generation]
    const { status, body: answer } = await client.session.ask(verb, path, JSON.stringify(body))
    assert.equal(status, 200, `${client.generation} ${path}: ${answer}`)
    return JSON.parse(answer) as never
  }
  const opened = new Set<string>()
  const round = async (index: number): Promise<void> => {
    const by = index % clients.length
    const sealed = await seal(clients[by] as Client, by, index, call)
    for (const [reader, client] of clients.entries()) {
      const { ciphertext, context } = sealed
      const { plaintext } = (await call(client, '/v1/key/decrypt/shared', {
        ciphertext,
        context,
      })) as {
        plaintext: string
      }
      assert.equal(plaintext, sealed.plaintext)
      opened.add(`${by} by ${reader}`)
    }
  }
  let next = 0
  const worker = async (): Promise<void> => {
    while (asked < REQUESTS) await round(next++)
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker))
  assert.ok(asked >= REQUESTS)
  assert.equal(opened.size, clients.length ** 2)
  await assertBulk(clients, call)
})

/** Every second time a data key, else a text of its own. */
async function seal(
  client: Client,
  by: number,
  index: number,
  call: (client: Client, path: string, body: unknown) => Promise<never>,
): Promise<Sealed> {
  const context = Buffer.from(`object-${index}`).toString('base64')
  if (index % 2 === 0) {
    const dek = (await call(client, '/v1/key/generate/shared', { context })) as Omit<Sealed, 'by'>
    return { ...dek, by, context }
  }
  const plaintext = Buffer.from(`text ${index}`).toString('base64')
  const { ciphertext } = (await call(client, '/v1/key/encrypt/shared', { plaintext, context })) as {
    ciphertext: string
  }
  return { by, plaintext, ciphertext, context }
}

/** What the oldest client could do only one by one, and v0.18's in one request, the others can open. */
async function assertBulk(
  clients: readonly Client[],
  call: (client: Client, path: string, body: unknown) => Promise<never>,
): Promise<void> {
  const sealed = await Promise.all(clients.map((client, by) => seal(client, by, 2 * by + 1, call)))
  const body = sealed.map(({ ciphertext, context }) => ({ ciphertext, context }))
  for (const client of clients.filter(({ generation }) => generation !== 'v0.18')) {
    const opened = (await call(client, '/v1/key/bulk/decrypt/shared', body)) as {
      plaintext: string
    }[]
    assert.deepEqual(
      opened.map(({ plaintext }) => plaintext),
      sealed.map(({ plaintext }) => plaintext),
    )
  }
}
