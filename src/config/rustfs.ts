/** The section `rustfs`: the RustFS KMS Admin API, off unless it is there (rustfs-kms-admin.md). */

import * as v from 'valibot'

import { address, endpoint, onOff, optional, Secret, secret, text, whole } from '../fields.ts'

/** An optional field without a default. @param what its description */
const maybe = <S extends v.GenericSchema>(type: S, what: string) =>
  v.pipe(v.nullish(type), v.description(what))

const MAX = Number.MAX_SAFE_INTEGER

/** The fields of the API's own `configure`, by the same names. Scalars of a file are texts, those of the API are not. */
const start = v.pipe(
  v.object({
    backend_type: v.pipe(
      text,
      v.description('keystore (the server’s own), local, vault, vault-transit or static.'),
    ),
    default_key_id: maybe(text, 'Key that is used where none is named.'),
    timeout_seconds: maybe(whole(0, MAX), 'Seconds for each try of a request to the backend.'),
    retry_attempts: maybe(whole(0, MAX), 'Tries of a request to the backend.'),
    enable_cache: maybe(onOff(true), 'Keep keys in memory.'),
    max_cached_keys: maybe(whole(0, MAX), 'How many keys to keep in memory.'),
    cache_ttl_seconds: maybe(whole(0, MAX), 'How long to keep a key in memory.'),
    allow_insecure_dev_defaults: maybe(
      onOff(false),
      'Lifts rules that protect keys in production.',
    ),
    key_dir: maybe(text, 'local: directory of the keys.'),
    master_key: maybe(text, 'local: passphrase that the keys are sealed under.'),
    file_permissions: maybe(whole(0, 0o777), 'local: mode of key files, as a decimal number.'),
    address: maybe(text, 'vault: URL.'),
    namespace: maybe(text, 'vault: namespace.'),
    mount_path: maybe(text, 'vault-transit: mount of the transit engine.'),
    kv_mount: maybe(text, 'vault: mount of the KV engine.'),
    key_path_prefix: maybe(text, 'vault: path of the keys below the mount.'),
    transit_key: maybe(text, 'vault-transit: name of the transit key; openkes if absent.'),
    skip_tls_verify: maybe(onOff(false), 'vault: do not verify the certificate.'),
    auth_method: maybe(
      v.object({
        token: maybe(text, 'Token.'),
        role_id: maybe(text, 'AppRole.'),
        secret_id: maybe(text, 'AppRole.'),
        secret_id_file: maybe(text, 'AppRole: file with the secret ID, read at each login.'),
        role: maybe(text, 'Kubernetes.'),
        jwt_path: maybe(text, 'Kubernetes: file with the service account’s token.'),
        mount: maybe(text, 'AppRole, Kubernetes: mount of the auth method.'),
        path: maybe(text, 'File with a token, read again and again.'),
        poll_interval_secs: maybe(whole(0, MAX), 'How often the file is read.'),
        refresh_safety_window_secs: maybe(
          whole(0, MAX),
          'How long before its end a token is refreshed at the latest.',
        ),
      }),
      'vault: how to log in.',
    ),
    key_id: maybe(text, 'static: name of the only key.'),
    secret_key: maybe(text, 'static: base64 of its 32 bytes.'),
  }),
  v.transform(
    (fields) => new Secret(JSON.stringify(fields, (_, value: unknown) => value ?? undefined)),
  ),
)

const credential = v.object({
  access_key: v.pipe(
    text,
    v.description('3 to 128 letters, digits and . _ -'),
    v.regex(/^[A-Za-z0-9._-]{3,128}$/, '3 to 128 of A-Z a-z 0-9 . _ - are expected'),
  ),
  secret_key: v.pipe(
    secret('the secret key is needed', 'At least 16 bytes; better from an environment variable.'),
    v.check(
      (given) => Buffer.byteLength(given.reveal()) >= 16,
      'too short: at least 16 bytes are expected',
    ),
  ),
  policy: v.pipe(
    text,
    v.description('admin, who may do everything, or one of the policies above.'),
  ),
})

export const rustfs = v.object({
  address: v.pipe(
    text,
    v.description(
      'Where this API listens, and nothing else: on a literal loopback address (127.0.0.1, [::1]) over plain HTTP, elsewhere over TLS with the server’s certificate.',
    ),
    address,
  ),
  credentials: v.pipe(
    v.array(credential),
    v.minLength(1, 'at least one is needed, or nobody can call it'),
    v.description('Who may call it, by SigV4 signature.'),
  ),
  start: maybe(
    start,
    'What runs from the start; the fields of POST /kms/configure. Absent: what was configured over the API, or nothing.',
  ),
  backends: v.pipe(
    optional(
      v.object({
        vault: v.pipe(
          optional(v.array(endpoint), []),
          v.description('Vaults that the API may name, like https://vault.example.com:8200.'),
        ),
        secret_files: v.pipe(
          optional(text, ''),
          v.description('Directory of the files with secrets that the API may name.'),
        ),
        ca: v.pipe(
          optional(text, ''),
          v.description(
            'File or directory of PEM files with the CAs of these Vaults; else the operating system’s.',
          ),
        ),
      }),
      {},
    ),
    v.description('What may be configured over the API; absent: only local and keystore.'),
  ),
  key_root: v.pipe(
    optional(text, ''),
    v.description('Directory below which the API may place the backend local; absent: nowhere.'),
  ),
  state: v.pipe(
    optional(text, ''),
    v.description(
      'File that keeps, sealed, what was configured over the API; absent: it is forgotten at the end.',
    ),
  ),
})
