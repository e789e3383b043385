/**
 * The section `keystore`: a level for each word of a kind's name, as the Go server nests them, so
 * `aws.secretsmanager` is `keystore: { aws: { secretsmanager: … } }`.
 */

import * as v from 'valibot'

import { KEY_STORES } from '../keystore/index.ts'
import type { KeyStoreKind } from '../keystore/keystore.ts'
import { nearest } from './nearest.ts'

/** The section's fields. */
export function keyStoreEntries(
  kinds: readonly KeyStoreKind[],
): Readonly<Record<string, v.GenericSchema>> {
  const entries: Record<string, v.GenericSchema> = {}
  for (const [word, group] of groupsOf(kinds)) {
    const whole = group.find(({ name }) => name === word)
    entries[word] =
      whole === undefined
        ? field(
            v.object(keyStoreEntries(group.map((kind) => below(kind, word)))),
            group.map(({ title }) => title).join('; '),
          )
        : field(whole.config, whole.title)
  }
  return entries
}

/** Kinds by the first word of their names. */
function groupsOf(kinds: readonly KeyStoreKind[]): Map<string, KeyStoreKind[]> {
  const groups = new Map<string, KeyStoreKind[]>()
  for (const kind of kinds) {
    const [word = ''] = kind.name.split('.')
    groups.set(word, [...(groups.get(word) ?? []), kind])
  }
  return groups
}

function below(kind: KeyStoreKind, word: string): KeyStoreKind {
  return { ...kind, name: kind.name.slice(word.length + 1) }
}

function field(type: v.GenericSchema, title: string): v.GenericSchema {
  return v.pipe(v.nullish(type), v.description(`${title}.`))
}

export interface KeyStoreChoice {
  readonly kind: KeyStoreKind
  /** Null when the file leaves it empty. */
  readonly settings: unknown
}

/** The keystores that a section has, also the empty ones. */
export function keyStoresIn(section: unknown, kinds: readonly KeyStoreKind[]): KeyStoreChoice[] {
  return kinds.flatMap((kind) => {
    const settings = kind.name.split('.').reduce(entryOf, section)
    return settings === undefined ? [] : [{ kind, settings }]
  })
}

/** The one that is filled in a section without errors. */
export function chosenKeyStore(section: unknown): KeyStoreChoice | undefined {
  return keyStoresIn(section, KEY_STORES).find(({ settings }) => settings !== null)
}

function entryOf(node: unknown, word: string): unknown {
  const isSection = typeof node === 'object' && node !== null && Object.hasOwn(node, word)
  return isSection ? (node as Readonly<Record<string, unknown>>)[word] : undefined
}

/** The whole name of the keystore that was most likely meant by a name, which may lack its first word. */
export function nearestKeyStore(name: string, kinds: readonly KeyStoreKind[]): string | undefined {
  const names = kinds.map((kind) => kind.name)
  const lastWords = names.map(lastWord)
  const word = nearest(lastWord(name), lastWords)
  return nearest(name, names) ?? (word && names[lastWords.indexOf(word)])
}

function lastWord(name: string): string {
  return name.slice(name.lastIndexOf('.') + 1)
}
