/**
 * From method and path to a route. Built at load: a request costs one or two look-ups in a map. Answers what
 * no route answers as Go's ServeMux does: 404 and 405 before authentication, 307 for paths that are not clean.
 */

import { KesError } from '../errors.ts'
import type { Reply, ServedRoute } from './route.ts'

export interface Match {
  readonly served: ServedRoute
  readonly param: string
}

export class Router {
  readonly #exact = new Map<string, ServedRoute>()
  readonly #prefixes = new Map<string, ServedRoute>()

  constructor(routes: readonly ServedRoute[]) {
    for (const served of routes) {
      const { path } = served.route
      ;(path.endsWith('/') ? this.#prefixes : this.#exact).set(path, served)
    }
    for (const served of routes) {
      for (const alias of served.route.aliases ?? []) this.#exact.set(alias, served)
    }
  }

  /** @param path decoded. @throws KesError NO_ROUTE, BAD_METHOD */
  match(method: string, path: string): Match {
    const exact = this.#exact.get(path)
    if (exact !== undefined) return { served: check(exact, method), param: '' }
    // A parameter stands behind the fourth slash: /v1/<noun>/<verb>/<parameter>.
    const end = nthSlash(path, 4) + 1
    const served = this.#prefixes.get(path.slice(0, end))
    if (served === undefined) throw new KesError('NO_ROUTE')
    return { served: check(served, method), param: path.slice(end) }
  }

  /** Whether a path is a route's but for its final slash. */
  lacksSlash(path: string): boolean {
    return !this.#exact.has(path) && this.#prefixes.has(`${path}/`)
  }
}

function check(served: ServedRoute, method: string): ServedRoute {
  const expected = served.route.method
  if (method === expected || (method === 'POST' && expected === 'PUT')) return served
  throw new KesError('BAD_METHOD', {
    message: `received method '${method}' expected '${expected}'`,
    // Go's server names the method in Accept; RFC 9110 wants Allow (docs/quirks.md).
    headers: { accept: expected, allow: expected === 'PUT' ? 'PUT, POST' : expected },
  })
}

function nthSlash(path: string, n: number): number {
  let at = -1
  for (let i = 0; i < n; i++) {
    at = path.indexOf('/', at + 1)
    if (at < 0) return -2
  }
  return at
}

/** The path without empty, `.` and `..` segments; the same when it is clean. @param path still encoded */
export function cleanPath(path: string): string {
  if (!/\/\/|\/\.\.?(\/|$)/.test(path)) return path
  const clean: string[] = []
  for (const segment of path.split('/')) {
    if (segment === '..') clean.pop()
    else if (segment !== '' && segment !== '.') clean.push(segment)
  }
  return `/${clean.join('/')}${clean.length > 0 && path.endsWith('/') ? '/' : ''}`
}

/** As Go's http.Redirect: a page for people only where a person may look. */
export function redirect(method: string, target: string): Reply {
  const headers = { location: target }
  if (method !== 'GET' && method !== 'HEAD') return { status: 307, headers }
  const link = target.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`)
  return {
    status: 307,
    headers,
    type: 'text/html; charset=utf-8',
    body: `<a href="${link}">Temporary Redirect</a>.\n\n`,
  }
}
