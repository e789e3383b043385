/** Keystore in AWS Secrets Manager: a secret per key, named after it (keystores.md 6). */

import * as v from 'valibot'

import { hostOrUrl, optional, Secret, text } from '../fields.ts'
import { defineKeyStore } from './keystore.ts'

const part = (what: string) =>
  v.pipe(
    optional(text, ''),
    v.description(what),
    v.transform((given) => new Secret(given)),
  )

const credentials = v.pipe(
  v.strictObject({
    accesskey: v.pipe(optional(text, ''), v.description('ID of the access key.')),
    secretkey: part('The secret of the access key.'),
    token: part('Token of a temporary access key.'),
  }),
  v.forward(
    v.check(
      ({ accesskey, secretkey }) => (accesskey === '') === (secretkey.reveal() === ''),
      'accesskey and secretkey belong together',
    ),
    ['secretkey'],
  ),
  v.forward(
    v.check(
      ({ accesskey, token }) => accesskey !== '' || token.reveal() === '',
      'a token belongs to accesskey and secretkey',
    ),
    ['token'],
  ),
)

const config = v.strictObject({
  endpoint: v.pipe(
    text,
    v.description('Host name or URL of the service, like secretsmanager.us-east-2.amazonaws.com.'),
    v.nonEmpty('the endpoint is needed, like secretsmanager.us-east-2.amazonaws.com'),
    hostOrUrl('secretsmanager.us-east-2.amazonaws.com'),
  ),
  region: v.pipe(
    text,
    v.nonEmpty('the region is needed, like us-east-2'),
    v.description('Region of the secrets, like us-east-2.'),
  ),
  kmskey: v.pipe(
    optional(text, ''),
    v.description('ID, ARN or alias of the KMS key for new secrets; else the account’s own.'),
  ),
  credentials: v.pipe(
    optional(credentials, {}),
    v.description(
      'Access key. Left out or empty: environment, shared files, web identity, container or instance role, as the AWS SDK finds them.',
    ),
  ),
})

export type AwsConfig = v.InferOutput<typeof config>

export const aws = defineKeyStore({
  name: 'aws.secretsmanager',
  title: 'AWS Secrets Manager',
  config,
  describe: ({ endpoint, region }) => `${endpoint} (${region})`,
  async open(settings) {
    const { importAwsSdk } = await import('./sdk.ts')
    const sdk = await importAwsSdk(
      '@aws-sdk/client-secrets-manager',
      () => import('@aws-sdk/client-secrets-manager'),
    )
    const { AwsStore } = await import('./aws/store.ts')
    return new AwsStore(settings, sdk)
  },
})
