/** The keystore as the server will find it: whether it is there, what we may do in it, and what lies about. */

import { setTimeout as sleep } from 'node:timers/promises'

import type { Config } from '../../config/config.ts'
import { randomBytes } from '../../crypto/random.ts'
import { findRecords } from '../../keys/orphans.ts'
import { PATIENCE, PatientStore } from '../../keys/patient.ts'
import { type KeyStore, KeyStoreError } from '../../keystore/keystore.ts'
import { ABSENT_ENTRY_NAME } from '../../names.ts'
import { openKeyStore, titleOf } from '../../server/keystore.ts'
import { took } from '../figures.ts'
import { say } from '../output.ts'
import { askClock, judgeClock } from './clock.ts'
import { type Finding, fail, ok, warn } from './finding.ts'

export interface KeyStoreExam {
  /** Make, read and delete an entry. */
  readonly probe: boolean
  readonly removeOrphans: boolean
  /** Milliseconds between the two looks after which a record counts as an orphan and is removed. */
  readonly settle: number
  readonly stop: AbortSignal
}

/** Milliseconds until it is open. */
const OPEN_LIMIT = 20_000
const RIGHTS = 'give it the rights that docs/keystores.md names'

export async function* examineKeyStore(
  keystore: Config['keystore'],
  exam: KeyStoreExam,
): AsyncGenerator<Finding> {
  const { kind, settings } = keystore
  if (kind.name === 'memory') {
    yield warn(
      'keystore',
      'in memory: all keys are lost when the server stops',
      'configure another',
    )
    return
  }
  const clock = await clockOf(settings, exam.stop)
  let store: KeyStore
  try {
    const log = { write: (): void => {} }
    store = await openKeyStore(
      { keystore },
      { tries: 1, limit: OPEN_LIMIT, log, signal: exam.stop },
    )
  } catch (error) {
    if (!(error instanceof KeyStoreError)) throw error
    yield fail('keystore', error.message, 'docs/keystores.md has what this keystore needs')
    if (clock !== undefined) yield judgeClock('the keystore', clock)
    return
  }
  try {
    const begin = performance.now()
    await store.status(exam.stop)
    yield ok('keystore', `${titleOf(keystore)} answers in ${took(performance.now() - begin)}`)
    if (clock !== undefined) yield judgeClock('the keystore', clock)
    const patient = new PatientStore(store, 'keystore', PATIENCE)
    yield* examineRights(patient)
    if (exam.probe) yield* probeWrites(patient)
    yield* examineRecords(patient, exam)
  } finally {
    await store.close()
  }
}

/** Undefined where there is no other clock, as with a directory, or it does not tell. */
async function clockOf(settings: unknown, stop: AbortSignal): Promise<number | undefined> {
  const { endpoint, endpoints } = settings as { endpoint?: unknown; endpoints?: unknown }
  const place: unknown = Array.isArray(endpoints) ? endpoints[0] : endpoint
  if (typeof place !== 'string') return undefined
  const url = /^https?:/.test(place) ? place : `https://${place}`
  return URL.canParse(url) ? askClock(new URL(url), stop) : undefined
}

async function* examineRights(store: PatientStore): AsyncGenerator<Finding> {
  const about = 'keystore'
  const denials = [
    await troubleWith(store.read(ABSENT_ENTRY_NAME.slice(1)), (why) =>
      fail(about, `keys cannot be read: ${why}`, RIGHTS),
    ),
    await troubleWith(store.read(ABSENT_ENTRY_NAME), (why) =>
      warn(
        about,
        `entries whose names begin with - cannot be read, so keys cannot be rotated, disabled or edited, nor are there enclaves: ${why}`,
        `${RIGHTS}, also for names that begin with -`,
      ),
    ),
    await troubleWith(
      store.list(ABSENT_ENTRY_NAME, ABSENT_ENTRY_NAME, () => false),
      (why) => fail(about, `keys cannot be listed: ${why}`, RIGHTS),
    ),
  ].filter((denial) => denial !== undefined)
  if (denials.length === 0) yield ok(about, 'entries can be read and listed')
  yield* denials
}

/** What the keystore's trouble means; undefined when there is none. */
async function troubleWith(
  work: Promise<unknown>,
  judge: (why: string) => Finding,
): Promise<Finding | undefined> {
  try {
    await work
    return undefined
  } catch (error) {
    if (!(error instanceof KeyStoreError)) throw error
    return judge(error.message)
  }
}

async function* probeWrites(store: PatientStore): AsyncGenerator<Finding> {
  const about = 'keystore'
  const name = `${ABSENT_ENTRY_NAME}-${randomBytes(4).toString('hex')}`
  const value = Buffer.from('kes doctor made this, and may be removed')
  const unmade = await troubleWith(store.make(name, value), (why) =>
    fail(about, `entries cannot be made: ${why}`, RIGHTS),
  )
  if (unmade !== undefined) {
    yield unmade
    return
  }
  const faults = [
    await troubleWith(expectEntry(store, name, value), (why) =>
      fail(
        about,
        `an entry that was just made: ${why}`,
        'does something in between keep old answers?',
      ),
    ),
    await troubleWith(store.remove(name), (why) =>
      fail(about, `entries cannot be deleted, and '${name}' was left behind: ${why}`, RIGHTS),
    ),
  ].filter((fault) => fault !== undefined)
  if (faults.length === 0) yield ok(about, 'entries can be made, read and deleted')
  yield* faults
}

/** @throws KeyStoreError unless it is there, and nobody can make it again */
async function expectEntry(store: PatientStore, name: string, value: Buffer): Promise<void> {
  const found = await store.compare(name, value)
  if (found === 'missing') throw new KeyStoreError('failed', 'it is not there')
  if (found === 'other') throw new KeyStoreError('failed', 'it reads differently')
  if (await store.make(name, value)) throw new KeyStoreError('failed', 'it could be made once more')
}

async function* examineRecords(store: PatientStore, exam: KeyStoreExam): AsyncGenerator<Finding> {
  const about = 'records'
  try {
    const { keys, orphans, broken } = await findRecords(store, exam.stop)
    for (const { name, reason } of broken)
      yield fail(
        `${about}.${name}`,
        `the key cannot be used: ${reason}`,
        'restore its entry and its change records together, from one backup',
      )
    if (orphans.length === 0) {
      if (keys > 0 && broken.length === 0)
        yield ok(about, `the changes of ${keys === 1 ? 'a key' : `${keys} keys`} are whole`)
      return
    }
    const names = orphans.map(({ name }) => name)
    const many = names.length === 1 ? 'a change record has' : `${names.length} change records have`
    if (!exam.removeOrphans) {
      yield warn(
        about,
        `${many} no key any more: ${names.join(', ')}`,
        'if a restore or a migration is still to bring the keys, wait for it: without their records they lose their later versions; else remove them with --remove-orphans',
      )
      return
    }
    yield* removeRecords(store, new Set(names), exam)
  } catch (error) {
    if (!(error instanceof KeyStoreError)) throw error
    yield fail(about, error.message, RIGHTS)
  }
}

async function* removeRecords(
  store: PatientStore,
  names: ReadonlySet<string>,
  { settle, stop }: KeyStoreExam,
): AsyncGenerator<Finding> {
  say(
    `Looking again in ${settle / 1000} s: a key that is being made has its record before it is there itself.`,
  )
  try {
    await sleep(settle, undefined, { signal: stop })
  } catch {
    return
  }
  const { orphans } = await findRecords(store, stop)
  const still = orphans.filter(({ name }) => names.has(name))
  for (const { name } of still) {
    await store.remove(name)
    yield ok('records', `removed ${name}: a restore that brings its key later must bring it, too`)
  }
  const spared = names.size - still.length
  if (spared > 0) yield ok('records', `${spared} have a key by now, and stay`)
}
