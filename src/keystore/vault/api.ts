/** Vault's HTTP API as such: its headers, the look of its errors, which trouble passes by itself. */

import type { ClientTlsFiles } from '../../fields.ts'
import { member } from '../../json.ts'
import { type HttpAnswer, isTransientStatus } from '../http-answer.ts'
import { HttpClient, type HttpOptions, type HttpRequest } from '../http.ts'
import { KeyStoreError } from '../keystore.ts'

export interface VaultRequest extends Omit<HttpRequest, 'headers'> {
  readonly token?: string
  /** '' = root. */
  readonly namespace: string
}

export type VaultHttp = Pick<HttpOptions, 'redirects' | 'answerLimit' | 'tries'>

/** A client of one Vault, or of one cluster behind one address. */
export class VaultApi {
  readonly #http: HttpClient

  constructor(endpoint: string, tls: ClientTlsFiles, http: VaultHttp = {}) {
    this.#http = new HttpClient({
      endpoints: [endpoint],
      tls,
      // A standby that does not forward names the active node.
      redirects: 1,
      ...http,
      isTransient: (answer) =>
        (isTransientStatus(answer) || answer.status === 412) && !isSealed(answer),
    })
  }

  /** @throws KeyStoreError `unreachable`, also while Vault is sealed or has no active node; else as HttpClient */
  async request({ token, namespace, ...request }: VaultRequest): Promise<HttpAnswer> {
    const answer = await this.#http.request({
      ...request,
      headers: {
        'x-vault-request': 'true',
        'x-vault-namespace': namespace === '' ? undefined : namespace,
        'x-vault-token': token,
      },
    })
    if (isSealed(answer))
      throw new KeyStoreError('unreachable', `${answer.origin}: Vault is sealed`)
    if (answer.status === 500 && /active (?:cluster )?node|standby/i.test(reasonOf(answer)))
      throw new KeyStoreError('unreachable', `${answer.origin}: Vault has no active node`)
    return answer
  }

  close(): void {
    this.#http.close()
  }
}

function isSealed(answer: HttpAnswer): boolean {
  return answer.status === 503 && /sealed/i.test(answer.body.toString())
}

/** Vault's own words about an error. */
export function reasonOf(answer: HttpAnswer): string {
  const { errors, warnings } = fieldsOf(answer)
  return answer.isJson
    ? [errors, warnings].flatMap((list) => (Array.isArray(list) ? list : [])).join('; ')
    : answer.body.toString()
}

/** Whether there is nothing at a path, which Vault says with an empty list of errors. */
export function isAbsent(answer: HttpAnswer): boolean {
  return (
    answer.status === 404 &&
    answer.isJson &&
    !member(answer.json(), 'data') &&
    reasonOf(answer) === ''
  )
}

/** A path inside a URL: its parts are escaped, superfluous slashes are dropped. */
export function pathOf(...parts: readonly string[]): string {
  return parts
    .flatMap((part) => part.split('/'))
    .filter((part) => part !== '' && part !== '.')
    .map(encodeURIComponent)
    .join('/')
}

function fieldsOf(answer: HttpAnswer): { errors?: unknown; warnings?: unknown } {
  const body = answer.isJson && answer.body.length > 0 ? answer.json() : undefined
  return { errors: member(body, 'errors'), warnings: member(body, 'warnings') }
}
