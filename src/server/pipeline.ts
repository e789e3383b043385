/**
 * What happens to a request, in this order: identify → match → authorise → body → handle → audit → respond.
 * The order is the security argument, so it stands in one place, with the only `catch` that turns what was thrown
 * into an answer. Who calls comes first, so that every log line has it; whether that is good enough is asked by
 * `authorise`, so that what no route answers is 404 or 405 to everybody.
 */

import { questionOf, type Reply, type Route } from '../api/route.ts'
import { checkMethod, cleanPath, isUsual, redirect } from '../api/router.ts'
import { Access } from '../auth/access.ts'
import { type Caller, NOBODY } from '../auth/forwarded.ts'
import { KesError } from '../errors.ts'
import { quote } from '../json.ts'
import type { Realm } from '../keys/realm.ts'
import type { Level } from '../telemetry/log.ts'
import type { Follower } from '../telemetry/stream.ts'
import { Throttle } from '../telemetry/throttle.ts'
import { ZERO_TIME } from '../time.ts'
import type { Admission } from './admission.ts'
import type { InFlight } from './deadlines.ts'
import type { Exchange } from './exchange.ts'
import { whenPast } from './expiry.ts'
import { describe, failure, OVERLOADED } from './failure.ts'
import type { State } from './state.ts'
import { decodePath, originForm } from './target.ts'

const NOBODYS = new Access({
  admin: undefined,
  policies: [],
  assignments: new Map(),
  createdAt: ZERO_TIME,
})
/** Milliseconds that the reader of a listing may take nothing of it. */
const STALL = 30_000

export interface PipelineOptions {
  readonly inFlight: InFlight
  /** One for all doors of a process: they have one processor. */
  readonly admission: Admission
  readonly state: () => State
}

export class Pipeline {
  protected readonly inFlight: InFlight
  /** What is served by now. */
  readonly #state: () => State
  /** Answers that go on until their client goes away. */
  readonly #following = new Map<Exchange, Follower>()
  /** Who sends a header that is a TLS proxy's to send. */
  readonly #pretenders = new Throttle()
  readonly #admission: Admission
  readonly #overloads = new Throttle()

  constructor({ inFlight, admission, state }: PipelineOptions) {
    this.inFlight = inFlight
    this.#admission = admission
    this.#state = state
  }

  /** The head of a request is there. */
  begin(exchange: Exchange): void {
    exchange.connection.active++
    exchange.services.metrics.active++
    exchange.services.keys.enter()
    this.#attempt(exchange, this.admit)
  }

  /** Its body is there, too. */
  received(exchange: Exchange): void {
    this.#attempt(exchange, this.#handle)
  }

  failed(exchange: Exchange, error: KesError): void {
    this.#fail(exchange, error)
  }

  /** Ends the answers that go on, of those who may not ask for them any more. */
  review(): void {
    const state = this.#state()
    for (const [exchange, follower] of this.#following) {
      const { identity } = exchange.who
      try {
        exchange.who = identify(exchange, state)
        if (exchange.who.identity !== identity) throw new KesError('NO_CERTIFICATE')
        const { enclave, access } = exchange.realm
        authorise(exchange, enclave === '' ? state.access : access)
      } catch {
        follower.end()
      }
    }
  }

  #attempt(exchange: Exchange, step: (exchange: Exchange) => void): void {
    try {
      step(exchange)
    } catch (error) {
      this.#fail(exchange, error)
    }
  }

  /** All that can be done without the body. */
  protected readonly admit: (exchange: Exchange) => void = (exchange) => {
    const { router, access } = exchange.services
    exchange.who = identify(exchange, exchange.services)
    this.#notePretender(exchange)
    const { method } = exchange
    const target = originForm(exchange.target)
    const query = target.indexOf('?')
    const raw = query < 0 ? target : target.slice(0, query)
    exchange.path = raw
    if (raw[0] !== '/')
      throw new KesError('BAD_REQUEST', { message: 'the request target is not a path' })
    exchange.path = decodePath(raw)
    const clean = cleanPath(raw)
    const match = clean === raw ? router.find(exchange.path) : undefined
    if (match === undefined) {
      const slash = clean === raw && router.lacksSlash(clean) ? '/' : ''
      if (clean === raw && slash === '') throw new KesError('NO_ROUTE')
      return this.#answer(exchange, redirect(method, clean + slash + target.slice(raw.length)))
    }
    const { served, param } = match
    const { route } = served
    if (!isUsual(route, method)) checkMethod(route, method, exchange.generation)
    exchange.served = served
    exchange.param = param
    const enclave = enclaveNamed(exchange, query < 0 ? '' : target.slice(query + 1))
    if (enclave !== '') return this.#seek(exchange, enclave)
    authorise(exchange, access)
    this.inFlight.add(exchange, served.timeout)
    this.#receive(exchange, exchange.startedAt)
  }

  /** A request that names an enclave: whether there is one, the keystore may have to say. */
  #seek(exchange: Exchange, name: string): void {
    const { served, services } = exchange
    if (served?.route.inEnclaves !== true) throw new KesError('NOT_IN_ENCLAVE')
    // Who has no certificate need not know.
    void exchange.caller
    this.inFlight.add(exchange, served.timeout)
    const realm = services.enclaves.find(name, exchange)
    if (!(realm instanceof Promise)) return this.#enter(exchange, realm)
    realm.then(
      (found) => this.#attempt(exchange, () => this.#enter(exchange, found)),
      (error: unknown) => this.#fail(exchange, error),
    )
  }

  #enter(exchange: Exchange, realm: Realm | undefined): void {
    if (exchange.isAnswered) return
    const { services, caller, who, path } = exchange
    // Who may come through a proxy is for the server to say, inside an enclave, too.
    if (who.proxy !== undefined) services.access.checkForwarded(caller, path)
    if (realm === undefined && caller === services.access.admin)
      throw new KesError('ENCLAVE_NOT_FOUND')
    // An enclave that does not exist looks like one that the caller has no part in.
    exchange.realm = realm ?? { ...services, access: NOBODYS }
    authorise(exchange, exchange.realm.access)
    // It may have waited for the keystore, which is no wait for other requests.
    this.#receive(exchange, performance.now())
  }

  #receive(exchange: Exchange, now: number): void {
    if (!this.isAdmitted(exchange, now)) return this.#answer(exchange, this.shed(exchange))
    const limit = exchange.served?.route.maxBody
    if (limit === undefined) this.#handle(exchange)
    else exchange.receive(limit)
  }

  /** Whether the server can do what the request asks for, in time. @param now when that is asked, in this turn of the event loop */
  protected isAdmitted(exchange: Exchange, now: number): boolean {
    const { config, metrics } = exchange.services
    if (this.#admission.admits(config.overload, metrics.active, now)) return true
    // Whoever looks after the server needs its answers now more than ever.
    return !this.operationOf(exchange).startsWith('key:')
  }

  /** The refusal of a request that is not admitted: as cheap as can be, so it is no error in the log. */
  protected shed(exchange: Exchange): Reply {
    const { metrics, log } = exchange.services
    metrics.shed++
    if (this.#overloads.allows('', exchange.startedAt)) {
      log.write('WARN', 'overload: requests are refused with 503 (kes_requests_shed)', {
        running: metrics.active,
      })
    }
    return this.overloaded(exchange)
  }

  /** What this door's clients are told of an overload. */
  protected overloaded(_exchange: Exchange): Reply {
    return OVERLOADED
  }

  /** Tells the operator of a proxy that the config does not name, or of an attempt to be somebody else. */
  #notePretender(exchange: Exchange): void {
    const { forwarded, log } = exchange.services
    const { identity, proxy } = exchange.who
    const { ip } = exchange.connection
    if (proxy !== undefined || exchange.header(forwarded.header) === undefined) return
    if (!this.#pretenders.allows(identity ?? ip, performance.now())) return
    log.write('WARN', `${forwarded.header} is ignored: only tls.proxy.identities may send it`, {
      'req.ip': ip,
      'req.identity': identity,
    })
  }

  /** What the request asks for; its body is there. */
  protected reply(exchange: Exchange): Reply | Promise<Reply> {
    const route = exchange.served?.route
    if (route === undefined) throw new Error('bug: a body for a request without a route')
    return (route.older === undefined ? route : variant(route, exchange)).handle(exchange)
  }

  /** What went wrong, as this door's clients are told. */
  protected refusal(error: KesError, _exchange: Exchange): Reply {
    return failure(error)
  }

  protected errorOf(thrown: unknown): KesError {
    return KesError.from(thrown)
  }

  /** What the client can name it by. */
  protected idOf(_exchange: Exchange): string | undefined {
    return undefined
  }

  /** For metrics; '' when there is no route. */
  protected operationOf({ served }: Exchange): string {
    return served?.route.operation ?? ''
  }

  readonly #handle = (exchange: Exchange): void => {
    this.#admission.done()
    const reply = this.reply(exchange)
    if (!(reply instanceof Promise)) return this.#answer(exchange, reply)
    reply.then(
      (done) => this.#attempt(exchange, () => this.#answer(exchange, done)),
      (error: unknown) => this.#fail(exchange, error),
    )
  }

  #fail(exchange: Exchange, thrown: unknown): void {
    if (exchange.isAnswered) return
    const error = this.errorOf(thrown)
    this.#log(exchange, error)
    this.#answer(exchange, this.refusal(error, exchange))
  }

  #log(exchange: Exchange, error: KesError): void {
    const level: Level = error.status >= 500 ? 'ERROR' : 'WARN'
    exchange.services.log.event(level, describe(error), {
      'req.id': this.idOf(exchange),
      'req.method': exchange.method,
      'req.path': exchange.path,
      'req.ip': exchange.connection.ip,
      'req.identity': exchange.who.identity,
      'req.proxy': exchange.who.proxy,
      status: error.status,
      policy: error.detail?.['policy'] ?? undefined,
      hint: error.detail?.['hint'] ?? undefined,
    })
  }

  #answer(exchange: Exchange, reply: Reply): void {
    if (exchange.isAnswered) return
    exchange.isAnswered = true
    this.inFlight.delete(exchange)
    const { metrics, audit, keys } = exchange.services
    const took = performance.now() - exchange.startedAt
    metrics.active--
    metrics.count(this.operationOf(exchange), reply.status, took)
    const { enclave, events } = exchange.realm
    if (audit.isOn(events)) {
      const event = {
        time: Date.now(),
        path: exchange.path,
        ip: exchange.connection.ip,
        identity: exchange.who.identity ?? '',
        proxy: exchange.who.proxy,
        enclave,
        status: reply.status,
        took,
      }
      audit.write(event, events)
    }
    if (reply.lines !== undefined) return void this.#pump(exchange, reply, reply.lines)
    keys.leave()
    if (reply.stream !== undefined) this.#follow(exchange, reply)
    else {
      exchange.send(reply)
      exchange.connection.release()
    }
  }

  /** The answer goes on until there are no more lines, or the client does not take them. */
  async #pump(exchange: Exchange, reply: Reply, lines: AsyncIterable<string>): Promise<void> {
    let isGone = false
    const follower = exchange.open(reply, () => (isGone = true))
    try {
      for await (const line of lines) {
        if (isGone) break
        follower.write(line)
        if (!(await inTime(exchange.drained(), STALL))) return exchange.cut()
      }
    } catch (thrown) {
      // The status has left long ago; the last line says what happened instead.
      const error = KesError.from(thrown)
      this.#log(exchange, error)
      follower.write(`{"error":${quote(error.message)}}\n`)
    } finally {
      follower.end()
      exchange.services.keys.leave()
      exchange.connection.release()
    }
  }

  /** The answer goes on until the client goes away, is too slow, or the server stops. */
  #follow(exchange: Exchange, reply: Reply): void {
    const { stream } = reply
    const { connection } = exchange
    const { until = Infinity } = exchange.who
    const follower = exchange.open(reply, () => {
      forget?.()
      stream?.unfollow(follower)
      this.#following.delete(exchange)
      connection.followers.delete(follower)
      connection.release()
    })
    const forget = until < Infinity ? whenPast(until, () => follower.end()) : undefined
    connection.followers.add(follower)
    this.#following.set(exchange, follower)
    stream?.follow(follower)
    // It was not among them yet, but has begun before.
    if (this.#state() !== exchange.services) this.review()
  }
}

/** The owner of the connection, or whom a TLS proxy forwards. */
function identify(exchange: Exchange, { access, forwarded }: State): Caller {
  const { peer } = exchange.connection
  if (peer === undefined || !access.isProxy(peer.identity)) return peer ?? NOBODY
  return forwarded.callerOf(peer.identity, exchange.headerValues(forwarded.header), Date.now())
}

/**
 * Returns when its route may be called, by this client.
 *
 * @throws KesError NO_CERTIFICATE, MANY_CERTIFICATES, BAD_CERTIFICATE, NOT_ALLOWED
 */
function authorise(exchange: Exchange, access: Access): void {
  const { served, path, who } = exchange
  if (served === undefined || served.skipAuth) return
  const identity = exchange.caller
  const { route } = served
  if (who.proxy !== undefined) access.checkForwarded(identity, path)
  if (route.access === 'permitted') access.check(identity, questionOf(route, path, exchange.param))
  else if (route.access === 'admin') access.checkAdmin(identity, path)
}

/** What a request names with `?enclave=` or the header Kes-Enclave, as the Go SDK does; '' for the server itself. */
function enclaveNamed(exchange: Exchange, query: string): string {
  const header = exchange.header('kes-enclave') ?? ''
  if (query === '') return header
  const names = new Set(new URLSearchParams(query).getAll('enclave'))
  if (header !== '') names.add(header)
  if (names.size > 1)
    throw new KesError('BAD_REQUEST', { message: 'the request names more than one enclave' })
  const [name = ''] = names
  return name
}

/** The handler of the caller's generation. */
function variant(route: Route, exchange: Exchange): Pick<Route, 'handle'> {
  const { generation } = exchange
  if (generation !== 'current') return route.older?.[generation] ?? route
  const difference = route.older?.['v0.18']
  const isAsked =
    difference?.byAccept === true &&
    /\bapplication\/x-ndjson\b/i.test(exchange.header('accept') ?? '')
  return isAsked ? difference : route
}

/** Whether it was done within so many milliseconds. */
async function inTime(work: Promise<void>, limit: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), limit)
  })
  const done = await Promise.race([work.then(() => true), late])
  clearTimeout(timer)
  return done
}
