/** The client library, `openkes/client`. */

export { ApiKey, type Identity } from '../crypto/identity.ts'
export type {
  Api,
  AuditEvent,
  DataKey,
  ErrorEvent,
  IdentityInfo,
  KeyInfo,
  KeyState,
  KeyVersion,
  NamePage,
  Origin,
  Policy,
  PolicyDialect,
  PolicyInfo,
  Rewrapped,
  SelfInfo,
  Status,
  Version,
} from './answers.ts'
export type { Answer, CallOptions, RequestOptions } from './caller.ts'
export type { PageOptions } from './base.ts'
export { KesClient, type RuleLists } from './client.ts'
export type {
  ContextOptions,
  DeleteOptions,
  DisableOptions,
  HmacOptions,
  KeyEdit,
  KeyMaterial,
} from './keys.ts'
export {
  AnswerError,
  type ClientErrorCode,
  ConflictError,
  ConnectionError,
  type ConnectionFailure,
  DecryptError,
  IdentityNotFoundError,
  KesClientError,
  KeyDisabledError,
  KeyExistsError,
  KeyNotFoundError,
  KeyNotPendingError,
  KeyPendingError,
  NotAllowedError,
  PolicyNotFoundError,
  RefusedError,
  ServerError,
  UnknownApiError,
  VersionNotFoundError,
} from './errors.ts'
export type { Log, LogOptions } from './log.ts'
export {
  type Histogram,
  histogramSince,
  type MetricFamily,
  Metrics,
  type MetricType,
  quantile,
  type Sample,
} from './metrics.ts'
export type { KesClientOptions } from './options.ts'
