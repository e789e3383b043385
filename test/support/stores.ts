/** Keystores as the config file names them, so that a test, another process and a server can open the same one. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

import * as v from 'valibot'

import { KEY_STORES } from '#src/keystore/index.js'
import type { KeyStore } from '#src/keystore/keystore.js'
import { SIGNAL } from './bytes.ts'
import type { Owner } from './server.ts'

export interface StoreConfig {
  /** Name of a kind, as `fs` or `aws.secretsmanager`. */
  readonly kind: string
  /** What the config file says of it; every scalar is a string. */
  readonly settings: Readonly<Record<string, unknown>>
}

/** Checks the settings as the server does, and opens the keystore; it is closed with the owner. */
export async function openStore(
  t: Owner,
  { kind: name, settings }: StoreConfig,
): Promise<KeyStore> {
  const kind = KEY_STORES.find((known) => known.name === name)
  if (kind === undefined) throw new Error(`no keystore has the name ${name}`)
  const store = await kind.open(v.parse(kind.config, settings), SIGNAL)
  t.after(() => store.close())
  return store
}

/** The section `keystore` of a config file. */
export function keyStoreYaml({ kind, settings }: StoreConfig): string {
  const nested = kind
    .split('.')
    .reduceRight<unknown>((inner, word) => ({ [word]: inner }), settings)
  return `keystore: ${JSON.stringify(nested)}\n`
}

/** Names that racing processes create, and creates of each name by each process. */
export const RACE = { names: 4, creates: 8 }

/** A process of its own that works on a keystore and has opened it: store-child.ts says what it does. */
export async function storeChild(
  t: Owner,
  mode: 'race' | 'loop',
  config: StoreConfig,
): Promise<ChildProcess> {
  const script = fileURLToPath(new URL('./store-child.js', import.meta.url))
  const child = spawn(process.execPath, [script, mode, JSON.stringify(config)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  t.after(() => child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  return child
}

/** Outcomes of all creates of two processes, by name: `won` or the code of the error. */
export async function race(t: Owner, config: StoreConfig): Promise<Map<string, string[]>> {
  const children = await Promise.all([storeChild(t, 'race', config), storeChild(t, 'race', config)])
  const texts = children.map(async ({ stdout }) => {
    let text = ''
    for await (const chunk of stdout ?? []) text += String(chunk)
    return text
  })
  for (const { stdin } of children) stdin?.write('\n')
  const outcomes = new Map<string, string[]>()
  for (const text of await Promise.all(texts)) {
    for (const [name, outcome] of JSON.parse(text) as [string, string][])
      outcomes.set(name, [...(outcomes.get(name) ?? []), outcome])
  }
  return outcomes
}
