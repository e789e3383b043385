/** How we prove to a Vault who we are, as the API says it: flat as in the document, or tagged as RustFS has it. */

import { Secret } from '../../fields.ts'
import { JsonError } from '../../json.ts'
import { StrictFields } from '../../strict-json.ts'

interface Refreshed {
  /** Before a token ends it is refreshed so many seconds earlier at the latest. */
  readonly window: number | undefined
}

export type AuthMethod =
  | { readonly type: 'token'; readonly token: Secret }
  | (Refreshed & {
      readonly type: 'approle'
      readonly mount: string
      readonly roleId: string
      readonly secretId: Secret
      /** Wins over `secretId`; read at every login. */
      readonly secretIdFile: string | undefined
    })
  | (Refreshed & {
      readonly type: 'kubernetes'
      readonly mount: string
      readonly role: string
      readonly jwtPath: string
    })
  | (Refreshed & {
      readonly type: 'token_file'
      readonly path: string
      /** Seconds. */
      readonly poll: number
    })

const JWT_PATH = '/var/run/secrets/kubernetes.io/serviceaccount/token'
const POLL = 30

type Reader = (fields: StrictFields) => AuthMethod

const READERS: Readonly<Record<string, Reader>> = {
  Token: (fields) => ({ type: 'token', token: secret(fields, 'token') }),
  AppRole: (fields) => ({
    type: 'approle',
    roleId: text(fields, 'role_id'),
    secretId: new Secret(fields.string('secret_id') ?? ''),
    secretIdFile: fields.string('secret_id_file') ?? undefined,
    mount: fields.string('mount') ?? 'approle',
    window: window(fields),
  }),
  Kubernetes: (fields) => ({
    type: 'kubernetes',
    role: text(fields, 'role'),
    jwtPath: fields.string('jwt_path') ?? JWT_PATH,
    mount: fields.string('mount') ?? 'kubernetes',
    window: window(fields),
  }),
  TokenFile: (fields) => ({
    type: 'token_file',
    path: text(fields, 'path'),
    poll: fields.whole('poll_interval_secs') ?? POLL,
    window: window(fields),
  }),
}

/** The field by which the flat form of a method is known. */
const SHAPES = { token: 'Token', role_id: 'AppRole', role: 'Kubernetes', path: 'TokenFile' }

/** @throws JsonError for none, for two, and for fields that are not its own */
export function readAuthMethod(given: StrictFields): AuthMethod {
  const tags = Object.keys(READERS).filter((tag) => given.has(tag))
  const shapes = Object.entries(SHAPES).filter(([field]) => given.has(field))
  if (tags.length + shapes.length !== 1)
    throw new JsonError(
      'auth_method: exactly one of token, role_id, role and path is expected, or of Token, AppRole, Kubernetes and TokenFile',
    )
  const [tag = shapes[0]?.[1] ?? ''] = tags
  const fields = tags.length === 1 ? given.object(tag) : given
  const method = fields && READERS[tag]?.(fields)
  if (!method) throw new JsonError(`auth_method.${tag} is not a JSON object`)
  fields.end()
  given.end()
  return method
}

function text(fields: StrictFields, name: string): string {
  const value = fields.string(name)
  if (typeof value !== 'string') throw new JsonError(`missing field auth_method.${name}`)
  return value
}

function secret(fields: StrictFields, name: string): Secret {
  return new Secret(text(fields, name))
}

function window(fields: StrictFields): number | undefined {
  return fields.whole('refresh_safety_window_secs') ?? undefined
}

/** In the tagged form. @param shown what stands for a secret */
export function authMethodJson(
  method: AuthMethod,
  shown: (secret: Secret) => string,
): Readonly<Record<string, unknown>> {
  if (method.type === 'token') return { Token: { token: shown(method.token) } }
  const { window } = method
  const refreshed = window === undefined ? {} : { refresh_safety_window_secs: window }
  if (method.type === 'kubernetes') {
    const { mount, role, jwtPath } = method
    return { Kubernetes: { mount, role, jwt_path: jwtPath, ...refreshed } }
  }
  if (method.type === 'token_file') {
    const { path, poll } = method
    return { TokenFile: { path, poll_interval_secs: poll, ...refreshed } }
  }
  const { mount, roleId, secretId, secretIdFile } = method
  const file = secretIdFile === undefined ? {} : { secret_id_file: secretIdFile }
  const own = { mount, role_id: roleId, secret_id: shown(secretId), ...file }
  return { AppRole: { ...own, ...refreshed } }
}

/** Where the method is mounted; a stored secret is never sent to another place. */
export function mountOf(method: AuthMethod): string {
  return method.type === 'approle' || method.type === 'kubernetes' ? method.mount : ''
}
