/** The client library, `openkes/client`. */

export { ApiKey, type Identity } from '../crypto/identity.ts'
export type {
  Api,
  AuditEvent,
  DataKey,
  ErrorEvent,
  IdentityInfo,
  KeyInfo,
  NamePage,
  Origin,
  Policy,
  PolicyInfo,
  SelfInfo,
  Status,
  Version,
} from './answers.ts'
export type { Answer, CallOptions, RequestOptions } from './caller.ts'
export {
  type ContextOptions,
  KesClient,
  type KeyMaterial,
  type PageOptions,
  type RuleLists,
} from './client.ts'
export {
  AnswerError,
  type ClientErrorCode,
  ConnectionError,
  type ConnectionFailure,
  DecryptError,
  IdentityNotFoundError,
  KesClientError,
  KeyExistsError,
  KeyNotFoundError,
  NotAllowedError,
  PolicyNotFoundError,
  RefusedError,
  ServerError,
  UnknownApiError,
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
