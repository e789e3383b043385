/** What the calls answer, and how it is read out of JSON (kes-api.md, kes-dialects.md). */

import { Fields, JsonError } from '../json.ts'
import { parseRfc3339 } from '../time.ts'
import { AnswerError } from './errors.ts'

export interface Version {
  readonly version: string
  /** Hex; '' when the server does not know. */
  readonly commit: string
}

export interface Status {
  readonly version: string
  /** As Go names it: `linux`, `windows`, … */
  readonly os: string
  /** As Go names it: `amd64`, `arm64`, … */
  readonly arch: string
  /** Seconds. */
  readonly uptime: number
  readonly cpus: number
  readonly usableCpus: number
  /** Bytes. */
  readonly heapUsed: number
  /** Bytes; 0 where the platform has no figure. */
  readonly stackUsed: number
  readonly keyStore: {
    readonly isReachable: boolean
    /** Milliseconds; undefined when it is unreachable. */
    readonly latency: number | undefined
  }
}

export interface Api {
  readonly method: string
  /** Ends in `/` when a name follows. */
  readonly path: string
  /** Bytes; 0: takes none. */
  readonly maxBody: number
  /** Seconds; 0: none. */
  readonly timeout: number
}

/** When and by whom something was made. */
export interface Origin {
  /** To the millisecond; undefined when it was never recorded. */
  readonly createdAt: Date | undefined
  /** An identity; undefined when it was never recorded. */
  readonly createdBy: string | undefined
}

const KEY_STATES = ['enabled', 'disabled', 'pending-deletion'] as const

export type KeyState = (typeof KEY_STATES)[number]

export interface KeyVersion extends Origin {
  /** 1, 2, 3, … */
  readonly version: number
}

/** `createdAt` and `createdBy` are those of the key's first version. */
export interface KeyInfo extends Origin {
  readonly name: string
  /** `AES256` or `ChaCha20`; undefined from servers that do not tell. */
  readonly algorithm: string | undefined
  /** Disabled: it seals nothing new. Pending deletion: nor does it, and it is destroyed on its date. */
  readonly state: KeyState
  /** The newest: what new data is sealed with. */
  readonly version: number
  /** All of them, in order; of a key that was never rotated the one that it has. */
  readonly versions: readonly KeyVersion[]
  /** When it may be destroyed; undefined unless its deletion is pending. */
  readonly deletionDate: Date | undefined
  /** Undefined: none. */
  readonly description: string | undefined
  readonly tags: Readonly<Record<string, string>>
}

export interface Rewrapped {
  /** Opens with `decrypt`, for the same context. */
  readonly ciphertext: Buffer
  /** Which version of the key has sealed it: the newest. */
  readonly version: number
}

export interface DataKey {
  /** The key to encrypt with. It is fresh and the caller's: to be wiped after use. */
  readonly plaintext: Buffer
  /** The same, sealed: to be stored, and opened with `decrypt`. */
  readonly ciphertext: Buffer
}

export interface PolicyInfo extends Origin {
  readonly name: string
}

const DIALECTS = ['current', 'v0.18', 'v0.7'] as const

/** What the rules of a policy are written in (docs/dialects.md). */
export type PolicyDialect = (typeof DIALECTS)[number]

export interface Policy extends PolicyInfo {
  readonly allow: readonly string[]
  readonly deny: readonly string[]
  /** Undefined where the server does not tell, as in older generations of the API. */
  readonly dialect: PolicyDialect | undefined
}

export interface IdentityInfo extends Origin {
  /** Name of its policy; undefined without one. */
  readonly policy: string | undefined
  readonly isAdmin: boolean
}

export interface SelfInfo extends IdentityInfo {
  readonly identity: string
  readonly allow: readonly string[]
  readonly deny: readonly string[]
}

/** At most 1024 names, sorted by byte. */
export interface NamePage {
  readonly names: readonly string[]
  /** What asks for the next page; undefined at the end. */
  readonly continueAt: string | undefined
}

export interface AuditEvent {
  /** When the request came. */
  readonly time: Date
  readonly path: string
  /** Undefined where the server does not tell. */
  readonly ip: string | undefined
  /** Undefined where nobody was identified. */
  readonly identity: string | undefined
  readonly status: number
  /** Nanoseconds until the answer. */
  readonly took: number
  /** The line as the server sent it. */
  readonly line: string
}

export interface ErrorEvent {
  readonly message: string
  /** The line as the server sent it. */
  readonly line: string
}

/** A JSON object of an answer. Every method throws AnswerError when the field is not what it should be. */
export class AnswerFields {
  readonly #endpoint: string
  readonly #fields: Fields

  constructor(endpoint: string, value: unknown) {
    this.#endpoint = endpoint
    this.#fields = this.#read('the answer', () => new Fields(value))
  }

  text(name: string): string {
    return this.#read(name, () => this.#fields.string(name)) ?? this.#missing(name)
  }

  /** '' counts as absent: so Go leaves fields out, or not. */
  optionalText(name: string): string | undefined {
    return this.#read(name, () => this.#fields.string(name)) || undefined
  }

  bytes(name: string): Buffer {
    return this.#read(name, () => this.#fields.bytes(name)) ?? this.#missing(name)
  }

  /** 0 when absent. */
  number(name: string): number {
    const value = this.#fields.value(name) ?? 0
    return typeof value === 'number' ? value : this.#missing(name)
  }

  /** False when absent. */
  boolean(name: string): boolean {
    const value = this.#fields.value(name) ?? false
    return typeof value === 'boolean' ? value : this.#missing(name)
  }

  date(name: string): Date {
    return this.optionalDate(name) ?? this.#missing(name)
  }

  /** Go's zero time, the year 1, counts as absent. */
  optionalDate(name: string): Date | undefined {
    const text = this.optionalText(name)
    if (text === undefined) return undefined
    const time = parseRfc3339(text)
    if (time === undefined) return this.#missing(name)
    const millis = time.seconds * 1000 + Math.floor(time.nanos / 1e6)
    return text.startsWith('0001-01-01T00:00:00') ? undefined : new Date(millis)
  }

  texts(name: string): string[] {
    const value = this.#fields.value(name) ?? []
    const isList = Array.isArray(value) && value.every((item) => typeof item === 'string')
    return isList ? value : this.#missing(name)
  }

  /** Rules of a policy: a set in the form `{"<rule>":{}}`, or an array. */
  rules(name: string): string[] {
    const value = this.#fields.value(name) ?? {}
    if (Array.isArray(value)) return this.texts(name)
    return typeof value === 'object' ? Object.keys(value) : this.#missing(name)
  }

  /** Names with a text each; none when absent. */
  textMap(name: string): Record<string, string> {
    const value = this.#fields.value(name) ?? {}
    const isMap = typeof value === 'object' && !Array.isArray(value)
    const entries: [string, unknown][] = isMap ? Object.entries(value) : this.#missing(name)
    const texts = entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string')
    return texts.length === entries.length ? Object.fromEntries(texts) : this.#missing(name)
  }

  /** One of these; the first when absent. */
  choice<T extends string>(name: string, choices: readonly [T, ...T[]]): T {
    const text = this.optionalText(name) ?? choices[0]
    return choices.find((choice) => choice === text) ?? this.#missing(name)
  }

  /** None when absent. */
  objects(name: string): AnswerFields[] {
    const value = this.#fields.value(name) ?? []
    if (!Array.isArray(value)) return this.#missing(name)
    return value.map((item: unknown) =>
      this.#read(name, () => new AnswerFields(this.#endpoint, item)),
    )
  }

  isArray(name: string): boolean {
    return Array.isArray(this.#fields.value(name))
  }

  object(name: string): AnswerFields {
    return new AnswerFields(this.#endpoint, this.#fields.value(name) ?? this.#missing(name))
  }

  origin(): Origin {
    return {
      createdAt: this.optionalDate('created_at'),
      createdBy: this.optionalText('created_by'),
    }
  }

  #read<T>(name: string, read: () => T): T {
    try {
      return read()
    } catch (error) {
      if (error instanceof JsonError) return this.#missing(name)
      throw error
    }
  }

  // What an answer holds may be a secret: it is not quoted.
  #missing(name: string): never {
    throw new AnswerError(this.#endpoint, `the answer's JSON is not as expected: ${name}`)
  }
}

/** @param type the answer's Content-Type @throws AnswerError */
export function parseJson(endpoint: string, text: string, type = 'no JSON'): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // Not the parser's message: it quotes the text.
    const what = type.startsWith('application/json') ? 'broken JSON' : type.slice(0, 80)
    throw new AnswerError(endpoint, `the answer is ${what}`)
  }
}

export function readStatus(fields: AnswerFields): Status {
  const latency = fields.number('keystore_latency')
  const isDown = fields.boolean('keystore_unreachable') || fields.boolean('keystore_unavailable')
  return {
    version: fields.text('version'),
    os: fields.optionalText('os') ?? '',
    arch: fields.optionalText('arch') ?? '',
    uptime: fields.number('uptime'),
    cpus: fields.number('num_cpu'),
    usableCpus: fields.number('num_cpu_used'),
    heapUsed: fields.number('mem_heap_used'),
    stackUsed: fields.number('mem_stack_used'),
    keyStore: { isReachable: !isDown, latency: isDown ? undefined : latency },
  }
}

/** What is not told is as it is for a key that nobody has changed. @param asked its name */
export function readKey(fields: AnswerFields, asked: string): KeyInfo {
  const origin = fields.origin()
  const versions = fields
    .objects('versions')
    .map((version) => ({ version: version.number('version'), ...version.origin() }))
  return {
    name: fields.optionalText('name') ?? asked,
    algorithm: fields.optionalText('algorithm'),
    ...origin,
    state: fields.choice('state', KEY_STATES),
    version: fields.number('version') || 1,
    versions: versions.length > 0 ? versions : [{ version: 1, ...origin }],
    deletionDate: fields.optionalDate('deletion_date'),
    description: fields.optionalText('description'),
    tags: fields.textMap('tags'),
  }
}

export function readApi(fields: AnswerFields): Api {
  return {
    method: fields.text('method'),
    path: fields.text('path'),
    maxBody: fields.number('max_body'),
    timeout: fields.number('timeout'),
  }
}

/** @param asked its name */
export function readPolicy(fields: AnswerFields, asked: string): Policy {
  // Older generations have arrays here, whatever the dialect of the policy.
  const isOlder = fields.isArray('allow') || fields.isArray('deny') || fields.isArray('paths')
  return {
    name: fields.optionalText('name') ?? asked,
    allow: fields.rules('allow'),
    deny: fields.rules('deny'),
    dialect: isOlder ? undefined : fields.choice('dialect', DIALECTS),
    ...fields.origin(),
  }
}

export function readIdentity(fields: AnswerFields): IdentityInfo {
  return {
    policy: fields.optionalText('policy_name') ?? fields.optionalText('policy'),
    isAdmin: fields.boolean('admin'),
    ...fields.origin(),
  }
}

/** @param list name of the field with the names */
export function readPage(fields: AnswerFields, list: string): NamePage {
  return { names: fields.texts(list), continueAt: fields.optionalText('continue_at') }
}

export function readAuditEvent(endpoint: string, line: string): AuditEvent {
  const fields = new AnswerFields(endpoint, parseJson(endpoint, line))
  const request = fields.object('request')
  const response = fields.object('response')
  return {
    time: fields.date('time'),
    path: request.text('path'),
    ip: request.optionalText('ip'),
    identity: request.optionalText('identity'),
    status: response.number('code'),
    took: response.number('time'),
    line,
  }
}

export function readErrorEvent(endpoint: string, line: string): ErrorEvent {
  const fields = new AnswerFields(endpoint, parseJson(endpoint, line))
  return { message: fields.text('message'), line }
}
