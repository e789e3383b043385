/** The embeddable server, and what a keystore of one's own is written with. */

export type { Config, LoadOptions } from './config/config.ts'
export { ConfigError, loadConfig, loadConfigFile, type Loaded } from './config/load.ts'
export { ApiKey, type Identity, parseIdentity } from './crypto/identity.ts'
export { type CertificatePair, certificateOf, newCertificate } from './crypto/certificate.ts'
export { type ErrorCode, KesError } from './errors.ts'
export {
  defineKeyStore,
  type KeyStore,
  KeyStoreError,
  type KeyStoreKind,
} from './keystore/keystore.ts'
export type { Listing, Page } from './names.ts'
export { Server, type ServerStreams } from './server/server.ts'
export { COMMIT, VERSION } from './version.ts'
