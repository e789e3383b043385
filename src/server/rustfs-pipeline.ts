/**
 * What happens to a request of the RustFS KMS Admin API, in this order: whose signature → body → is it the one that was
 * signed → route → whose key → authorise → admit → handle. Who may not do it never learns what is wrong with his request, nor
 * whether a key exists (rustfs-kms-admin.md, 0.1 and 2.2b).
 */

import { randomUUID } from 'node:crypto'

import { findKmsRoute } from '../api/rustfs.ts'
import { refusalOf } from '../api/rustfs/refusal.ts'
import { KmsRequest } from '../api/rustfs/request.ts'
import { badJson, type KmsRoute } from '../api/rustfs/route.ts'
import type { Reply } from '../api/route.ts'
import { type Access, hint, notAllowed } from '../auth/access.ts'
import type { Question } from '../auth/policy.ts'
import { SeenSignatures } from '../auth/seen-signatures.ts'
import type { Claim, Signer } from '../auth/signers.ts'
import type { KesError } from '../errors.ts'
import { JsonError } from '../json.ts'
import type { ManagedKeys } from '../keys/managed.ts'
import { Throttle } from '../telemetry/throttle.ts'
import type { Exchange } from './exchange.ts'
import { OVERLOAD } from './failure.ts'
import { Pipeline, type PipelineOptions } from './pipeline.ts'
import { decodePath, originForm } from './target.ts'

/** Milliseconds until the body must be there; a route may take longer than that. */
const BODY_TIMEOUT = 15_000
const MAX_BODY = 1_048_576
/** Of somebody who may be nobody. */
const MAX_UNVERIFIED_BODY = 65_536
const ADMIN = 'admin'

/** What is known of a request so far. */
interface Progress {
  readonly id: string
  claim?: Claim
  route?: KmsRoute
}

export interface RustfsOptions extends PipelineOptions {
  readonly managed: ManagedKeys
  /** The port has TLS. */
  readonly isPrivate: boolean
}

export class RustfsPipeline extends Pipeline {
  readonly #managed: ManagedKeys
  readonly #isPrivate: boolean
  readonly #seen = new SeenSignatures()
  readonly #progress = new WeakMap<Exchange, Progress>()
  readonly #unsigned = new Throttle()

  constructor({ managed, isPrivate, ...options }: RustfsOptions) {
    super(options)
    this.#managed = managed
    this.#isPrivate = isPrivate
  }

  protected override readonly admit = (exchange: Exchange): void => {
    const progress: Progress = { id: randomUUID() }
    this.#progress.set(exchange, progress)
    const { signers } = exchange.services
    exchange.path = rawPath(exchange)
    const claim = signers.identify(
      {
        method: exchange.method,
        target: exchange.target,
        headerValues: (name) => headerValues(exchange, name),
        isPrivate: this.#isPrivate,
      },
      Date.now(),
    )
    progress.claim = claim
    this.inFlight.add(exchange, BODY_TIMEOUT)
    // On every route, so that no digest goes unverified.
    exchange.receive(claim.isVerified ? MAX_BODY : MAX_UNVERIFIED_BODY)
  }

  protected override reply(exchange: Exchange): Promise<Reply> {
    const progress = this.#progress.get(exchange)
    if (progress?.claim === undefined) throw new Error('bug: a body of nobody')
    this.#recognise(exchange, progress.claim)
    const raw = exchange.path
    exchange.path = decodePath(raw)
    const { route, param } = findKmsRoute(exchange.method, raw)
    progress.route = route
    this.inFlight.delete(exchange)
    this.inFlight.add(exchange, route.timeout)
    const running = this.#managed.running(exchange.services.keys)
    const request = new KmsRequest(exchange, {
      managed: this.#managed,
      runs: running,
      search: searchOf(exchange),
      param: decodePath(param),
    })
    const isShared = (running?.kind ?? this.#managed.kind) === 'keystore'
    authorise(request, route, isShared, progress.claim.signer, exchange.services.access)
    if (!this.isAdmitted(exchange, performance.now())) return Promise.resolve(this.shed(exchange))
    return serve(request, route).then((reply) => dressed(reply, progress.id))
  }

  protected override errorOf(thrown: unknown): KesError {
    return thrown instanceof JsonError ? badJson(thrown) : super.errorOf(thrown)
  }

  protected override refusal(error: KesError, exchange: Exchange): Reply {
    const progress = this.#progress.get(exchange)
    const id = progress?.id ?? ''
    return dressed(refusalOf(error, progress?.route, this.#managed, id), id)
  }

  protected override overloaded(exchange: Exchange): Reply {
    return this.refusal(OVERLOAD, exchange)
  }

  protected override operationOf(exchange: Exchange): string {
    return this.#progress.get(exchange)?.route?.operation ?? ''
  }

  protected override idOf(exchange: Exchange): string | undefined {
    return this.#progress.get(exchange)?.id
  }

  /** From here on it is known who calls. */
  #recognise(exchange: Exchange, claim: Claim): void {
    const { signer } = claim
    const now = Date.now()
    claim.checkBody(exchange.body)
    exchange.who = { identity: signer.identity }
    if (!this.#isPrivate) this.#seen.check(claim, now)
    if (claim.isBodyUnsigned && this.#unsigned.allows(signer.identity, performance.now()))
      exchange.services.log.write('WARN', 'a request came whose body is not signed', {
        'req.ip': exchange.connection.ip,
        'req.identity': signer.identity,
      })
  }
}

/** Changes of a key that no rule written for KES's own routes opens (kes-api.md, "Policies"). */
const ADMINISTRATIVE = new Set<string>(['enable', 'disable', 'rotate', 'edit', 'restore'])

/**
 * Returns when the caller may do what its route does, to the key that the request names; it is noted there.
 *
 * @param isShared the keys are those of KES, and so are the policies' paths
 * @throws KesError NOT_ALLOWED, in the same words whatever the key; JsonError, KesError for a request that names none,
 *   to those only who may do it to some key
 */
function authorise(
  request: KmsRequest,
  { right, keyId }: KmsRoute,
  isShared: boolean,
  { identity, policy: name }: Signer,
  access: Access,
): void {
  const policy = access.policy(name)
  const isAdmin = name === ADMIN
  const refuse = (path: string, rule?: string): never => {
    throw notAllowed(identity, name, path, (api) => hint(policy, rule, api))
  }
  const check = (question: Question): void => {
    const verdict = policy?.judge(question)
    if (!isAdmin && verdict?.allowed !== true) refuse(question.path, verdict?.rule)
  }
  if ('service' in right) return check({ path: `/v1/kms/${right.service}`, administrative: true })
  const prefix = `${isShared ? '/v1/key' : '/v1/kms/key'}/${right.key}/`
  const administrative = !isShared || ADMINISTRATIVE.has(right.key)
  if (!isAdmin && policy?.reaches({ path: prefix, administrative }) !== true) refuse(prefix)
  request.keyId = keyId?.(request) ?? ''
  check({ path: prefix + request.keyId, administrative })
}

/** A backend that is replaced meanwhile is closed after the answer. */
async function serve(request: KmsRequest, route: KmsRoute): Promise<Reply> {
  const keys = request.runs?.keys
  keys?.enter()
  try {
    return await route.handle(request)
  } finally {
    keys?.leave()
  }
}

/** Nothing of this API is for caches; and every answer can be found again in the log. */
function dressed(reply: Reply, requestId: string): Reply {
  const own = { 'cache-control': 'no-store', 'x-amz-request-id': requestId }
  return { ...reply, headers: { ...reply.headers, ...own } }
}

function rawPath({ target }: Exchange): string {
  const [path = ''] = originForm(target).split('?', 1)
  return path
}

function searchOf({ target }: Exchange): URLSearchParams {
  const question = target.indexOf('?')
  return new URLSearchParams(question < 0 ? '' : target.slice(question + 1))
}

/** HTTP/2 has no field `host`, but what is signed as such. */
function headerValues(exchange: Exchange, name: string): readonly string[] {
  const values = exchange.headerValues(name)
  return name === 'host' && values.length === 0 ? exchange.headerValues(':authority') : values
}
