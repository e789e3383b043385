/** How the service is, as the document has it and as today's RustFS has it, in one object (rustfs-kms-admin.md, 6). */

import type { Configuration } from '../../keys/managed/configuration.ts'
import { fingerprint } from '../../keys/managed/document.ts'
import { FILE_MODE, type KmsSettings } from '../../keys/managed/settings.ts'
import type { BackendKind, ManagedKeys } from '../../keys/managed.ts'
import type { KeyService } from '../../keys/service.ts'

type Fields = Readonly<Record<string, unknown>>

/** @param own the server's keys. Nothing changes by asking. */
export async function statusOf(managed: ManagedKeys, own: KeyService): Promise<Fields> {
  const { status, snapshot } = managed
  const { configuration, backend, failure } = snapshot
  const running = managed.running(own)
  const probe = await running?.keys.health.probe()
  const healthy = probe && 'latency' in probe
  const settings = configuration?.settings
  const cache = settings && cacheOf(settings, own)
  return {
    status,
    backend_type: settings?.backend.kind ?? null,
    healthy: healthy ?? null,
    config_summary: configuration === undefined ? null : summaryOf(configuration, own),
    backend_status: failure === undefined ? healthWord(healthy) : 'error',
    cache_enabled: cache?.isOn ?? null,
    cache_stats:
      running === undefined || cache?.isOn !== true
        ? null
        : {
            hit_count: backend?.counts?.hits ?? 0,
            miss_count: backend?.counts?.misses ?? 0,
            entry_count: running.keys.cache.size,
            eviction_count: running.keys.cache.evictions,
          },
    default_key_id: settings?.defaultKeyId ?? null,
    ...(settings && { capabilities: capabilitiesOf(settings.backend.kind) }),
    ...(configuration && { cluster_config: clusterOf(configuration) }),
  }
}

export interface EffectiveCache {
  readonly isOn: boolean
  readonly maxKeys: number
  /** Seconds. */
  readonly ttl: number
}

/** What is in force. @param own the server's keys, whose cache the config file rules */
export function cacheOf({ cache, backend }: KmsSettings, own: KeyService): EffectiveCache {
  if (backend.kind !== 'keystore')
    return { isOn: cache !== undefined, maxKeys: cache?.maxKeys ?? 0, ttl: cache?.ttl ?? 0 }
  const ttl = own.cache.expiry.any / 1000
  // It has no limit; clients expect a number.
  return { isOn: ttl > 0, maxKeys: Number.MAX_SAFE_INTEGER, ttl }
}

function healthWord(healthy: boolean | undefined): string | null {
  return healthy === undefined ? null : healthy ? 'healthy' : 'unhealthy'
}

function summaryOf({ settings, document: { said } }: Configuration, own: KeyService): Fields {
  const cache = cacheOf(settings, own)
  return {
    backend_type: settings.backend.kind,
    default_key_id: settings.defaultKeyId ?? null,
    timeout_seconds: settings.timeout,
    retry_attempts: settings.tries,
    enable_cache: cache.isOn,
    max_cached_keys: cache.maxKeys,
    cache_ttl_seconds: cache.ttl,
    cache_summary: cache.isOn
      ? { max_keys: cache.maxKeys, ttl_seconds: cache.ttl, enable_metrics: true }
      : null,
    backend_summary: {
      backend_type: settings.backend.kind,
      ...backendSummary(settings, said.skip_tls_verify === true),
    },
  }
}

function backendSummary({ backend }: KmsSettings, skipTlsVerify: boolean): Fields {
  if (backend.kind === 'local')
    return { key_dir: backend.keyDir, has_master_key: true, file_permissions: FILE_MODE }
  if (backend.kind === 'static') return { key_id: backend.keyId }
  if (backend.kind === 'keystore') return {}
  return {
    address: backend.address,
    auth_method_type: backend.auth.type,
    has_stored_credentials: true,
    namespace: backend.namespace ?? null,
    mount_path: backend.mountPath,
    kv_mount: backend.kvMount,
    key_path_prefix: backend.keyPathPrefix,
    skip_tls_verify: skipTlsVerify,
    ...(backend.kind === 'vault-transit' && { transit_key: backend.transitKey }),
  }
}

/** The one key of `static` cannot be changed. */
function capabilitiesOf(kind: BackendKind): Fields {
  const changes = kind !== 'static'
  return {
    encrypt: true,
    decrypt: true,
    generate_data_key: true,
    rotate: changes,
    enable_disable: changes,
    schedule_deletion: changes,
    versioning: changes,
    physical_delete: changes,
    update_key_metadata: changes,
    rewrap: changes,
  }
}

/** Every server has a configuration of its own. */
function clusterOf({ document }: Configuration): Fields {
  const node = { host: 'local', config_fingerprint: fingerprint(document) }
  return { consistent: true, nodes: [node] }
}
