/** A request of the RustFS KMS Admin API, as its routes see it. */

import type { Identity } from '../../crypto/identity.ts'
import { KesError } from '../../errors.ts'
import type { ManagedKeys, Running } from '../../keys/managed.ts'
import { parseStrict, StrictFields } from '../../strict-json.ts'
import type { Call, Services } from '../route.ts'
import type { KeyIdSource, KmsCall } from './route.ts'

const NO_FIELDS = new Map<string, never>()

export interface KmsRequestParts {
  readonly managed: ManagedKeys
  /** Undefined when nothing runs. */
  readonly runs: Running | undefined
  readonly search: URLSearchParams
  /** What stands behind the route's path, decoded. */
  readonly param: string
}

export class KmsRequest implements KmsCall, KeyIdSource {
  readonly managed: ManagedKeys
  readonly runs: Running | undefined
  readonly param: string
  keyId = ''
  readonly #call: Call
  readonly #search: URLSearchParams
  #fields: StrictFields | undefined

  constructor(call: Call, { managed, runs, search, param }: KmsRequestParts) {
    this.#call = call
    this.managed = managed
    this.runs = runs
    this.param = param
    this.#search = search
  }

  get services(): Services {
    return this.#call.services
  }

  get caller(): Identity {
    return this.#call.caller
  }

  get signal(): AbortSignal {
    return this.#call.signal
  }

  get hasBody(): boolean {
    return this.#call.body.length > 0
  }

  /** @throws JsonError for a body that is no JSON object */
  get fields(): StrictFields {
    this.#fields ??= new StrictFields(this.hasBody ? parseStrict(this.#call.body) : NO_FIELDS)
    return this.#fields
  }

  get defaultKeyId(): string | undefined {
    return this.runs?.defaultKeyId
  }

  get running(): Running {
    if (this.runs === undefined) throw new KesError('NOT_RUNNING')
    return this.runs
  }

  readonly query = (name: string): string | undefined => this.#search.getAll(name).at(-1)
}
