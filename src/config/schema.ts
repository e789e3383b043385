/**
 * The config file, said once: types, checks, `docs/config.md` and `kes.schema.json` follow from this schema. The
 * fields, their spelling and their defaults are the Go server's (kes-config.md); ours are marked so.
 */

import * as v from 'valibot'

import { address, DAY, duration, durationOrDays, onOff, optional, text, whole } from '../fields.ts'
import { MAX_DAYS, MIN_DAYS } from '../keys/snapshot.ts'
import { KEY_STORES } from '../keystore/index.ts'
import { LEVELS } from '../telemetry/log.ts'
import { keyStoreEntries } from './keystores.ts'
import { rustfs } from './rustfs.ts'

const rules = (what: string) => v.pipe(optional(v.array(text), []), v.description(what))

/** A field of a later release that this one knows by its neutral value only. */
const only = (value: string, message: string) =>
  v.pipe(
    text,
    v.check((given) => given === value, message),
  )

const generation = v.picklist(['current', 'v0.18', 'v0.7'], 'write current, v0.18 or v0.7')

/** The API schedules a deletion for as many days. */
const deletionWindow = v.pipe(
  durationOrDays,
  v.check(
    (millis) => millis === 0 || (millis % DAY === 0 && isWindow(millis / DAY)),
    `write 0s, or whole days from ${MIN_DAYS}d to ${MAX_DAYS}d`,
  ),
  v.transform((millis) => millis / DAY),
)

function isWindow(days: number): boolean {
  return days >= MIN_DAYS && days <= MAX_DAYS
}

const rotateEvery = v.pipe(
  durationOrDays,
  v.check(
    (millis) => millis === 0 || millis >= DAY,
    'a key has 100 changes at most: write 1d or more, or 0s',
  ),
)

/** RFC 9110, 5.1. */
const headerName = v.pipe(text, v.regex(/^[\w!#$%&'*+.^`|~-]+$/, 'not the name of a header'))

const tls = v.object({
  key: v.pipe(
    optional(text, ''),
    v.description('PEM file with the private key. Required, here or as --key.'),
  ),
  cert: v.pipe(
    optional(text, ''),
    v.description(
      'PEM file with the certificate, a chain if need be; needs a SAN. Required, here or as --cert.',
    ),
  ),
  password: v.pipe(optional(text, ''), v.description('Password of an encrypted private key.')),
  auth: v.pipe(
    optional(onOff(false), ''),
    v.description(
      'on: verify client certificates (chain, dates, usage). off: accept any well-formed one.',
    ),
  ),
  ca: v.pipe(
    optional(text, ''),
    v.description(
      'File or directory of PEM files that client certificates are verified against; else the operating system’s.',
    ),
  ),
  proxy: v.pipe(
    optional(
      v.object({
        identities: v.pipe(
          optional(v.array(text), []),
          v.description(
            'TLS proxies that may forward a client’s certificate: 64 hex digits each, none of them the admin’s or in a policy.',
          ),
        ),
        header: v.pipe(
          optional(
            v.object({
              cert: v.pipe(
                optional(headerName, 'X-Tls-Client-Cert'),
                v.description(
                  'Header in which they forward it, as one URL-encoded PEM certificate.',
                ),
              ),
            }),
            {},
          ),
          v.description('Headers that proxies send.'),
        ),
        admin: v.pipe(
          optional(onOff(false), 'off'),
          v.description('Ours: may the admin come through a proxy.'),
        ),
      }),
      {},
    ),
    v.description('TLS proxies.'),
  ),
})

const route = v.object({
  skip_auth: v.pipe(
    optional(onOff(false), 'off'),
    v.description(
      'Serve it without a client certificate. Only /v1/ready, /v1/status, /v1/metrics and /v1/api can.',
    ),
  ),
  timeout: v.pipe(v.nullish(duration), v.description('How long a request may take.')),
})

const policy = v.object({
  allow: rules('Paths that may be called: exact, or a prefix if it ends in *.'),
  deny: rules('Paths that must not be called, whatever allow says.'),
  identities: rules('Who has this policy: 64 hex digits each.'),
  dialect: v.pipe(
    v.nullish(generation),
    v.description(
      'Ours: the generation of the API that its rules are written for and its identities are answered in; else the top-level dialect.',
    ),
  ),
})

const expiry = v.object({
  any: v.pipe(optional(duration, '5m0s'), v.description('How long a key may be cached at all.')),
  unused: v.pipe(optional(duration, '30s'), v.description('How long since its last use.')),
  offline: v.pipe(
    optional(duration, '0s'),
    v.description(
      'How long keys are kept while the keystore is unreachable, instead of any and unused; 0s = no longer.',
    ),
  ),
  changes: v.pipe(
    optional(durationOrDays, '15s'),
    v.description(
      'Ours: how soon changes of a key in use by other servers are seen (rotations, states); 0s = with any.',
    ),
  ),
})

/** The least level that is written; Infinity writes nothing. */
const level = v.pipe(
  text,
  v.rawTransform<string, number>(({ dataset, addIssue, NEVER }) => {
    const word = dataset.value.toUpperCase()
    if (word === '' || word === 'ON' || word === 'TRUE' || word === 'YES') return LEVELS.INFO
    if (word === 'OFF' || word === 'FALSE' || word === 'NO') return Number.POSITIVE_INFINITY
    const match = /^(DEBUG|INFO|WARN|ERROR)([+-]\d{1,3})?$/.exec(word)
    if (match !== null) return LEVELS[match[1] as keyof typeof LEVELS] + Number(match[2] ?? 0)
    addIssue({ message: 'write on, off, debug, info, warn or error' })
    return NEVER
  }),
)

const log = v.object({
  error: v.pipe(
    optional(level, 'on'),
    v.description(
      'What is written to standard error: on, off, or the least level (debug, info, warn, error, or INFO+1).',
    ),
  ),
  audit: v.pipe(
    optional(onOff(false), 'off'),
    v.description('on: every API call becomes one JSON object per line on standard output.'),
  ),
  format: v.pipe(
    optional(v.picklist(['text', 'json'], 'write text or json'), 'text'),
    v.description('Ours: how the error log is written.'),
  ),
})

const key = v.object({
  name: v.pipe(text, v.description('Name of a key that is created at start if it does not exist.')),
  rotate_every: v.pipe(
    optional(rotateEvery, '0s'),
    v.description(
      'Ours: how old its newest version may become before the key is rotated, as 90d; 0s = any age.',
    ),
  ),
})

const overload = v.object({
  in_flight: v.pipe(
    optional(whole(0, 1_000_000), '10000'),
    v.description('Requests that may be worked on at a time, per process; 0 = any number.'),
  ),
  delay: v.pipe(
    optional(duration, '250ms'),
    v.description(
      'How long a request may have waited for others, once they all have for a second; 0s = any time.',
    ),
  ),
})

export const schema = v.object({
  version: v.pipe(
    optional(only('v1', 'must be v1, or be left out'), 'v1'),
    v.description('Version of the file format.'),
  ),
  address: v.pipe(optional(address, '0.0.0.0:7373'), v.description('Where the server listens.')),
  admin: v.pipe(
    v.object(
      {
        identity: v.pipe(
          text,
          v.nonEmpty('the identity of the admin is needed; write disabled if there is none'),
          v.description(
            '64 hex digits, as printed by `kes identity of`; disabled, or any other word, switches the admin off.',
          ),
        ),
      },
      'a section with the field identity is expected',
    ),
    v.description('Who may do everything.'),
  ),
  tls: v.pipe(optional(tls, {}), v.description('Certificates: the server’s and the clients’.')),
  api: v.pipe(
    optional(v.record(text, v.nullish(route, {})), {}),
    v.description('Settings of single routes, by path as /v1/api prints it.'),
  ),
  policy: v.pipe(
    optional(v.record(text, v.nullish(policy, {})), {}),
    v.description('Who may do what, by name.'),
  ),
  cache: v.pipe(
    optional(v.object({ expiry: optional(expiry, {}) }), {}),
    v.description('How long keys stay in memory.'),
  ),
  log: v.pipe(optional(log, {}), v.description('Logs.')),
  keys: v.pipe(optional(v.array(key), []), v.description('Keys that are created at start.')),
  key: v.pipe(
    optional(
      v.object({
        deletion_window: v.pipe(
          optional(deletionWindow, '0s'),
          v.description(
            `Ours: how long a deletion waits, and can be cancelled, that does not say so itself: ${MIN_DAYS}d to ${MAX_DAYS}d; 0s = keys are deleted at once.`,
          ),
        ),
      }),
      {},
    ),
    v.description('Ours: the life of keys.'),
  ),
  keystore: v.pipe(
    v.object(keyStoreEntries(KEY_STORES), 'a section with one keystore is expected'),
    v.description('Where the keys are: exactly one.'),
  ),
  dialect: v.pipe(
    optional(generation, 'current'),
    v.description(
      'Ours: the generation of the API that clients are answered in: current, v0.18 or v0.7.',
    ),
  ),
  http: v.pipe(
    optional(v.picklist(['node', 'lean'], 'write node or lean'), 'lean'),
    v.description(
      'Ours: the implementation of HTTP. lean: our own framing, for less CPU per request. node: Node’s classes.',
    ),
  ),
  overload: v.pipe(
    optional(overload, {}),
    v.description(
      'Ours: when calls for keys are refused with 503 and Retry-After, so that the others are answered in time.',
    ),
  ),
  rustfs: v.pipe(
    v.nullish(rustfs),
    v.description('Ours: the RustFS KMS Admin API; off unless it is there.'),
  ),
})

export type ConfigFile = v.InferOutput<typeof schema>
