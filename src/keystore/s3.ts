/**
 * Keystore in a bucket of Amazon S3, or of a store that speaks its protocol and honours conditional writes: an
 * object per key. Only what the config says is here; the client is loaded with s3/store.ts when it is used.
 */

import * as v from 'valibot'

import { endpoint, folder, onOff, optional, Secret, serverTls, text } from '../fields.ts'
import { defineKeyStore } from './keystore.ts'

const secretPart = (what: string) =>
  v.pipe(
    optional(text, ''),
    v.description(what),
    v.transform((given) => (given === '' ? undefined : new Secret(given))),
  )

const credentials = v.pipe(
  v.strictObject({
    access_key: v.pipe(optional(text, ''), v.description('ID of the access key.')),
    secret_key: secretPart('The secret of the access key.'),
    session_token: secretPart('Token of a temporary access key.'),
  }),
  v.check(
    ({ access_key: id, secret_key: secret }) => (id === '') === (secret === undefined),
    'access_key and secret_key belong together',
  ),
  v.check(
    ({ access_key: id, session_token: token }) => id !== '' || token === undefined,
    'session_token belongs to access_key and secret_key',
  ),
)

const config = v.strictObject({
  bucket: v.pipe(
    text,
    v.regex(/^[\w.-]{3,63}$/, 'the name of a bucket is needed: 3 to 63 letters, digits, - and .'),
    v.description('Bucket of the keys; it must exist.'),
  ),
  endpoint: v.pipe(
    v.nullish(endpoint),
    v.description('URL of the service, like https://minio.example.com:9000; else Amazon S3.'),
  ),
  region: v.pipe(
    optional(text, 'us-east-1'),
    v.nonEmpty('the region is needed, like us-east-2'),
    v.description('Region of the bucket.'),
  ),
  prefix: v.pipe(
    optional(folder, ''),
    v.description('Folder of the keys in the bucket, like kes/; else they are at its top.'),
  ),
  path_style: v.pipe(
    v.nullish(onOff(false)),
    v.description(
      'on: the bucket is part of the URL’s path. off: it is part of the host name. Default: on with an endpoint, off without.',
    ),
  ),
  credentials: v.pipe(
    optional(credentials, {}),
    v.description(
      'Access key. Left out or empty: environment, shared files, web identity, container or instance role, as the AWS SDK finds them.',
    ),
  ),
  tls: serverTls,
})

export type S3Config = v.InferOutput<typeof config>

export const s3 = defineKeyStore({
  name: 's3',
  title: 'Bucket of Amazon S3, or of a store that speaks its protocol',
  config,
  describe: ({ bucket, prefix, endpoint: url, region }) =>
    `${bucket}/${prefix} at ${url ?? `Amazon S3 (${region})`}`,
  async open(settings, signal) {
    const { openS3 } = await import('./s3/store.ts')
    return openS3(settings, signal)
  },
})
