/** `kes key info|rotate|disable|enable|edit|restore|rm`: what becomes of keys (key-lifecycle.md). */

import type { KesClient, KeyEdit, KeyInfo } from '../client/index.ts'
import { harmless } from './columns.ts'
import { UsageError } from './command.ts'
import { attempt, attemptEach, type ConnectionOptions, withClient } from './connect.ts'
import { printFields, printJson, quoted, say } from './output.ts'

export async function info(name: string, options: ConnectionOptions): Promise<void> {
  const key = await withClient(options, (client) =>
    attempt(`describe key ${quoted(name)}`, client.describeKey(name)),
  )
  if (options.json === true) printJson(jsonOf(key))
  else printFields(fieldsOf(key), options)
}

export async function rotate(names: readonly string[], options: ConnectionOptions): Promise<void> {
  await changeEach('rotate', names, options, (client, name) => client.rotateKey(name))
}

interface DisableOptions extends ConnectionOptions {
  readonly denyDecrypt?: boolean
}

export async function disable(names: readonly string[], options: DisableOptions): Promise<void> {
  const { denyDecrypt } = options
  await changeEach('disable', names, options, (client, name) =>
    client.disableKey(name, { denyDecrypt }),
  )
}

export async function enable(names: readonly string[], options: ConnectionOptions): Promise<void> {
  await changeEach('enable', names, options, (client, name) => client.enableKey(name))
}

interface EditOptions extends ConnectionOptions {
  readonly description?: string
  readonly tag?: readonly string[]
  readonly untag?: readonly string[]
}

export async function edit(names: readonly string[], options: EditOptions): Promise<void> {
  const change = editOf(options)
  await changeEach('edit', names, options, (client, name) => client.editKey(name, change))
}

/** @throws UsageError */
function editOf({ description, tag = [], untag = [] }: EditOptions): KeyEdit {
  if (description === undefined && tag.length === 0 && untag.length === 0)
    throw new UsageError('nothing to change: pass --description, --tag or --untag')
  const tags = new Map<string, string | null>(untag.map((name) => [name, null]))
  for (const text of tag) {
    const [, name, value] = /^([^=]+)=(.*)$/s.exec(text) ?? []
    if (name === undefined || value === undefined)
      throw new UsageError(`--tag '${text}' has no name or no value: write it like team=shop`)
    tags.set(name, value)
  }
  return {
    ...(description !== undefined && { description: description || null }),
    ...(tags.size > 0 && { tags: Object.fromEntries(tags) }),
  }
}

export async function restore(names: readonly string[], options: ConnectionOptions): Promise<void> {
  await changeEach('restore', names, options, (client, name) => client.restoreKey(name))
}

interface RemoveOptions extends ConnectionOptions {
  readonly in?: string
}

export async function remove(names: readonly string[], options: RemoveOptions): Promise<void> {
  const days = daysOf(options.in)
  await changeEach('remove', names, options, async (client, name) => {
    const key = await client.deleteKey(name, { days })
    const date = key?.deletionDate
    if (date !== undefined)
      say(`Key ${quoted(name)} will be deleted on ${date.toISOString()}, unless it is restored.`)
    return key
  })
}

/** @throws UsageError */
function daysOf(given: string | undefined): number | undefined {
  if (given === undefined) return undefined
  const days = Number(/^(\d{1,2})d$/.exec(given)?.[1])
  if (days >= 7 && days <= 30) return days
  throw new UsageError(`--in '${given}' is not a number of days from 7d to 30d: write it like 7d`)
}

/** Of several every one is tried. Nothing is printed, but with --json what each key is now, if it still is. */
async function changeEach(
  verb: string,
  names: readonly string[],
  options: ConnectionOptions,
  change: (client: KesClient, name: string) => Promise<KeyInfo | undefined>,
): Promise<void> {
  await withClient(options, (client) =>
    attemptEach(names, async (name) => {
      const key = await attempt(`${verb} key ${quoted(name)}`, change(client, name))
      if (options.json === true && key !== undefined) printJson(jsonOf(key))
    }),
  )
}

/** Nothing but what the Go server knows of a key. */
function isPlain({ state, version, description, tags }: KeyInfo): boolean {
  return (
    state === 'enabled' &&
    version === 1 &&
    description === undefined &&
    Object.keys(tags).length === 0
  )
}

/** As the API has it. */
function jsonOf(key: KeyInfo): object {
  const { name, algorithm, createdAt, createdBy, state, version, deletionDate, description } = key
  return {
    name,
    algorithm,
    created_at: createdAt,
    created_by: createdBy,
    ...(!isPlain(key) && {
      state,
      version,
      versions: key.versions.map((each) => ({
        version: each.version,
        created_at: each.createdAt,
        created_by: each.createdBy,
      })),
      deletion_date: deletionDate,
      description,
      ...(Object.keys(key.tags).length > 0 && { tags: key.tags }),
    }),
  }
}

type Fields = Parameters<typeof printFields>[0]

function fieldsOf(key: KeyInfo): Fields {
  const { name, algorithm, createdAt, createdBy } = key
  const origin = { 'Created at': createdAt, 'Created by': createdBy }
  if (isPlain(key)) return { Name: name, Algorithm: algorithm, ...origin }
  return {
    Name: name,
    Algorithm: algorithm,
    State: key.state,
    'Deleted on': key.deletionDate,
    ...origin,
    Version: String(key.version),
    Versions: key.versions.map(versionLine),
    Description: key.description?.split('\n').map(harmless),
    Tags: Object.entries(key.tags).map(([tag, value]) => harmless(`${tag}=${value}`)),
  }
}

function versionLine({ version, createdAt, createdBy }: KeyInfo['versions'][number]): string {
  const date = createdAt === undefined ? '' : ` of ${createdAt.toISOString()}`
  return `${version}${date}${createdBy === undefined ? '' : ` by ${createdBy}`}`
}
