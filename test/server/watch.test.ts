import assert from 'node:assert/strict'
import { appendFileSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { loadTls, tlsPaths } from '#src/server/tls.js'
import { FileWatch } from '#src/server/watch.js'
import { certificate } from '../support/certificates.ts'
import { eventually } from '../support/process.ts'
import { tempDir } from '../support/server.ts'

const INTERVAL = 20
/** Long enough for a few looks, also on a busy machine. */
const WHILE = 400

interface Scene {
  readonly directory: string
  readonly files: { readonly key: string; readonly cert: string; readonly ca: string }
  /** Subjects of the pairs that were taken, one after the other. */
  readonly taken: string[]
  readonly complaints: string[]
}

interface Pair {
  readonly key: string
  readonly cert: string
}

function pair(subject: string): Promise<Pair> {
  return certificate({ subject, dns: [subject] })
}

/** A watch over a pair of files, and what came of it. */
async function scene(
  t: TestContext,
  { patience = 60_000, auth = false, at = (name: string) => name } = {},
): Promise<Scene> {
  const directory = tempDir(t)
  const path = (name: string): string => join(directory, at(name))
  const files = { key: path('server.key'), cert: path('server.cert'), ca: join(directory, 'cas') }
  mkdirSync(files.ca)
  writeFileSync(join(files.ca, 'one.pem'), (await certificate({ subject: 'one', ca: true })).cert)
  const proxy = { identities: [], header: '', admin: false }
  const tls = { ...files, password: '', auth, proxy }
  const [taken, complaints]: [string[], string[]] = [[], []]
  const watch = new FileWatch({
    interval: INTERVAL,
    patience,
    paths: () => tlsPaths(tls),
    take: async () => {
      const { options } = loadTls({ tls, address: { host: '', port: 0 } })
      taken.push([String(options.cert), ...(options.ca as string[])].join(''))
    },
    complain: (reason) => complaints.push(reason),
  })
  t.after(() => watch.close())
  return { directory, files, taken, complaints }
}

function write({ key, cert }: Pair, files: Pair): void {
  writeFileSync(files.key, key)
  writeFileSync(files.cert, cert)
}

/** Resolves when this certificate is the one that was taken last. */
function untilTaken({ taken }: Scene, cert: string): Promise<unknown> {
  return eventually('the certificate is taken', () => taken.at(-1)?.startsWith(cert))
}

test('files that are written over are taken once', async (t) => {
  const it = await scene(t)
  const [one, two] = [await pair('one'), await pair('two')]
  write(one, it.files)
  await untilTaken(it, one.cert)
  write(two, it.files)
  await untilTaken(it, two.cert)
  await sleep(WHILE)
  assert.deepEqual(it.taken, [one.cert, two.cert])
  assert.deepEqual(it.complaints, [])
})

test('files that are renamed over the old ones, as editors do, are taken', async (t) => {
  const it = await scene(t)
  write(await pair('one'), it.files)
  const two = await pair('two')
  write(two, { key: `${it.files.key}~`, cert: `${it.files.cert}~` })
  renameSync(`${it.files.key}~`, it.files.key)
  renameSync(`${it.files.cert}~`, it.files.cert)
  await untilTaken(it, two.cert)
})

test('a Kubernetes volume, where one symbolic link is swapped, is taken', async (t) => {
  const it = await scene(t, { at: (name) => `tls/${name}` })
  const volume = join(it.directory, 'tls')
  const revision = (name: string, content: Pair): void => {
    mkdirSync(join(volume, name), { recursive: true })
    write(content, {
      key: join(volume, name, 'server.key'),
      cert: join(volume, name, 'server.cert'),
    })
    symlinkSync(name, join(volume, '..data_tmp'))
    renameSync(join(volume, '..data_tmp'), join(volume, '..data'))
  }
  const [one, two] = [await pair('one'), await pair('two')]
  revision('..2026_01', one)
  symlinkSync('..data/server.key', it.files.key)
  symlinkSync('..data/server.cert', it.files.cert)
  await untilTaken(it, one.cert)
  revision('..2026_02', two)
  rmSync(join(volume, '..2026_01'), { recursive: true })
  await untilTaken(it, two.cert)
  assert.deepEqual(it.complaints, [])
})

test('a certificate that comes before its key waits for it, without a word', async (t) => {
  const it = await scene(t)
  const [one, two] = [await pair('one'), await pair('two')]
  write(one, it.files)
  await untilTaken(it, one.cert)
  writeFileSync(it.files.cert, two.cert)
  await sleep(WHILE)
  assert.deepEqual(it.taken, [one.cert])
  writeFileSync(it.files.key, two.key)
  await untilTaken(it, two.cert)
  assert.deepEqual(it.complaints, [])
})

test('a file of which the first half is there waits for the rest', async (t) => {
  const it = await scene(t)
  const [one, two] = [await pair('one'), await pair('two')]
  write(one, it.files)
  await untilTaken(it, one.cert)
  writeFileSync(it.files.key, two.key)
  writeFileSync(it.files.cert, two.cert.slice(0, 100))
  await sleep(WHILE)
  assert.equal(it.taken.length, 1)
  appendFileSync(it.files.cert, two.cert.slice(100))
  await untilTaken(it, two.cert)
  assert.deepEqual(it.complaints, [])
})

test('what stays wrong is complained about, once, and taken when it is right', async (t) => {
  const it = await scene(t, { patience: 100 })
  const [one, two] = [await pair('one'), await pair('two')]
  write(one, it.files)
  await untilTaken(it, one.cert)
  writeFileSync(it.files.cert, two.cert)
  await eventually('a complaint', () => it.complaints.length > 0)
  await sleep(WHILE)
  assert.equal(it.complaints.length, 1)
  assert.match(it.complaints[0] ?? '', /server\.key.* does not belong to the certificate/)
  rmSync(it.files.cert)
  await eventually('another complaint', () => it.complaints.length > 1)
  await sleep(WHILE)
  assert.equal(it.complaints.length, 2)
  assert.match(it.complaints[1] ?? '', /cannot read .*server\.cert/)
  write(two, it.files)
  await untilTaken(it, two.cert)
  writeFileSync(it.files.cert, one.cert)
  await eventually('a complaint about the next change', () => it.complaints.length > 2)
})

test('a file of the CA directory that comes, changes or goes is noticed', async (t) => {
  const it = await scene(t, { auth: true })
  const server = await pair('server')
  write(server, it.files)
  await untilTaken(it, server.cert)
  const [two, three] = [
    await certificate({ subject: 'two', ca: true }),
    await certificate({ subject: 'three', ca: true }),
  ]
  const path = join(it.files.ca, 'two.pem')
  const has = ({ cert }: Pair) => it.taken.at(-1)?.includes(cert.trim()) === true
  writeFileSync(path, two.cert)
  await eventually('it comes', () => has(two))
  writeFileSync(path, three.cert)
  await eventually('it changes', () => has(three) && !has(two))
  rmSync(path)
  await eventually('it goes', () => !has(three))
})

test('a CA file that is cut off is not taken for one with fewer CAs', async (t) => {
  const it = await scene(t, { auth: true, patience: 0 })
  const server = await pair('server')
  write(server, it.files)
  await untilTaken(it, server.cert)
  const whole = `${(await certificate({ subject: 'two', ca: true })).cert}${server.cert}`
  writeFileSync(join(it.files.ca, 'two.pem'), whole.slice(0, -100))
  await eventually('a complaint', () => it.complaints.length > 0)
  assert.match(it.complaints[0] ?? '', /two\.pem' has a certificate that is cut off/)
  assert.equal(it.taken.length, 1)
})

test('files are not read before they rest', async (t) => {
  const path = join(tempDir(t), 'file')
  let looks = 0
  let writes = 0
  const takenAt: number[] = []
  const watch = new FileWatch({
    interval: INTERVAL,
    paths: () => {
      if (++looks <= 5) writeFileSync(path, 'x'.repeat(++writes))
      return [path]
    },
    take: async () => void takenAt.push(looks),
    complain: () => {},
  })
  t.after(() => watch.close())
  await eventually('they are read', () => takenAt.length > 0)
  assert.deepEqual([takenAt, writes], [[6], 5])
})

test('nothing is looked at after the close', async (t) => {
  const directory = tempDir(t)
  const path = join(directory, 'file')
  let takes = 0
  const watch = new FileWatch({
    interval: INTERVAL,
    paths: () => [path],
    take: async () => void takes++,
    complain: () => {},
  })
  await eventually('the first look', () => takes === 1)
  watch.close()
  writeFileSync(path, 'new')
  await sleep(WHILE)
  assert.equal(takes, 1)
})
