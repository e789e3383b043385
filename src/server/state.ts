/** Everything that a configuration decides, as one immutable snapshot: a request keeps the one that it began with. */

import { ROUTES } from '../api/index.ts'
import { Router } from '../api/router.ts'
import type { ServedRoute, Services } from '../api/route.ts'
import { Access } from '../auth/access.ts'
import { ACCESS_CHANGED } from '../auth/change.ts'
import { ForwardedCertificates } from '../auth/forwarded.ts'
import { Policy } from '../auth/policy.ts'
import { Signers } from '../auth/signers.ts'
import type { Bus } from '../bus.ts'
import type { Config } from '../config/config.ts'
import { TrustedCas } from '../crypto/chain.ts'
import type { Sweep } from '../keys/sweep.ts'
import type { Relay } from '../telemetry/relay.ts'
import { now } from '../time.ts'
import type { Tls } from './tls.ts'

/** What outlives every configuration: counts, the time of the start, those who follow a log, the other processes. */
export interface Lasting extends Pick<Services, 'metrics' | 'audit' | 'log'> {
  readonly bus: Bus
  /** Absent when there are no other processes. */
  readonly relay: Relay | undefined
}

/** What a keystore is seen through, and what becomes due in it. */
export interface Stores extends Pick<Services, 'keys' | 'enclaves'> {
  readonly sweep: Sweep
}

export interface State extends Services, Stores, Lasting {
  /** What it was made from. */
  readonly config: Config
  readonly router: Router
  readonly forwarded: ForwardedCertificates
  /** Who may sign requests of the RustFS KMS Admin API. */
  readonly signers: Signers
  /** Some route may be called without a certificate. */
  readonly admitsAnonymous: boolean
}

/**
 * @param stores shared with the state before, when the keystore is the same
 * @param before what was changed over the API since then stays
 */
export function stateOf(
  config: Config,
  stores: Stores,
  tls: Tls,
  { metrics, audit, log, bus, relay }: Lasting,
  before?: State,
): State {
  const routes = servedRoutes(config)
  const { keys } = stores
  metrics.use({
    auditEvents: () => audit.events,
    errorEvents: () => log.events,
    cachedKeys: () => keys.cache.size,
    keyStoreUp: () => (keys.health.downSince === undefined ? 1 : 0),
  })
  return {
    config,
    metrics,
    audit,
    log,
    bus,
    relay,
    change: async ({ enclave, access: { admin, createdAt } }, change) => {
      await bus.ask(ACCESS_CHANGED, { enclave, admin, createdAt, change })
    },
    enclave: '',
    ...stores,
    events: audit.stream,
    access: accessOf(config, before?.access),
    deletionWindow: config.deletionWindow,
    generation: config.generation,
    routes,
    router: new Router(routes),
    forwarded: forwardedBy(config, tls),
    signers: new Signers(config.rustfs?.credentials ?? []),
    admitsAnonymous: routes.some(({ skipAuth }) => skipAuth),
  }
}

/** The same configuration with certificate files that have changed. */
export function withCertificates(state: State, tls: Tls): State {
  return { ...state, forwarded: forwardedBy(state.config, tls) }
}

function forwardedBy({ tls: { proxy } }: Config, { verify, cas }: Tls): ForwardedCertificates {
  return new ForwardedCertificates(proxy.header, verify ? new TrustedCas(cas) : undefined)
}

function servedRoutes({ api }: Config): ServedRoute[] {
  return ROUTES.map((route) => {
    const settings = api.get(route.path)
    return {
      route,
      skipAuth: settings?.skipAuth ?? false,
      timeout: settings?.timeout ?? route.timeout,
    }
  })
}

function accessOf(
  { admin, policies, tls: { proxy } }: Config,
  previous: Access | undefined,
): Access {
  const createdAt = now()
  const rules = {
    admin,
    policies: policies.map(
      ({ name, allow, deny, language, generation }) =>
        new Policy(
          name,
          { allow, deny },
          { createdAt, createdBy: admin ?? '', language, generation },
        ),
    ),
    assignments: new Map(
      policies.flatMap(({ name, identities }) =>
        identities.map((identity) => [identity, name] as const),
      ),
    ),
    proxies: new Set(proxy.identities),
    proxiedAdmin: proxy.admin,
    createdAt,
  }
  return new Access(rules, previous)
}
