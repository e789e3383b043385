/**
 * From method and path to a route. Built at load: a request costs one look-up in a map, the first one of a path a few. Answers what
 * no route answers as Go's ServeMux does: 404 and 405 before authentication, 307 for paths that are not clean.
 */

import type { Generation } from '../auth/policy.ts'
import { KesError } from '../errors.ts'
import type { Reply, Route, ServedRoute } from './route.ts'

/** Of paths, and characters of one, that are remembered. */
const MOST_KNOWN = 1000
const LONGEST_KNOWN = 160

export interface Match {
  readonly served: ServedRoute
  readonly param: string
}

export class Router {
  readonly #exact = new Map<string, ServedRoute>()
  readonly #prefixes = new Map<string, ServedRoute>()
  /** Paths that were found: clients ask for the same few again and again. */
  readonly #known = new Map<string, Match>()

  constructor(routes: readonly ServedRoute[]) {
    for (const served of routes) {
      const { path } = served.route
      ;(path.endsWith('/') ? this.#prefixes : this.#exact).set(path, served)
    }
    for (const served of routes) {
      for (const alias of served.route.aliases ?? []) this.#exact.set(alias, served)
    }
  }

  /** The route of a path, whatever the method. @param path decoded */
  find(path: string): Match | undefined {
    const known = this.#known.get(path)
    if (known !== undefined) return known
    const match = this.#search(path)
    if (match !== undefined && path.length <= LONGEST_KNOWN) {
      if (this.#known.size >= MOST_KNOWN) this.#known.clear()
      this.#known.set(path, match)
    }
    return match
  }

  #search(path: string): Match | undefined {
    const exact = this.#exact.get(path)
    if (exact !== undefined) return { served: exact, param: '' }
    // A parameter stands behind the fourth slash: /v1/<noun>/<verb>/<parameter>; in a few paths behind the fifth.
    return this.#behind(path, 4) ?? this.#behind(path, 5)
  }

  #behind(path: string, slashes: number): Match | undefined {
    const end = nthSlash(path, slashes) + 1
    const served = this.#prefixes.get(path.slice(0, end))
    return served && { served, param: path.slice(end) }
  }

  /** Whether a path that was not found is a route's but for its final slash. */
  lacksSlash(path: string): boolean {
    return this.#prefixes.has(`${path}/`)
  }
}

/** Whether a route takes a method in every generation. */
export function isUsual(
  { method: expected, post }: Pick<Route, 'method' | 'post'>,
  method: string,
): boolean {
  return method === expected || (method === 'POST' && (expected === 'PUT' || post === true))
}

/** @param generation of the caller: the oldest deletes with POST, too. @throws KesError BAD_METHOD */
export function checkMethod(
  route: Pick<Route, 'method' | 'post'>,
  method: string,
  generation: Generation,
): void {
  const { method: expected } = route
  const takesPost = isUsual(route, 'POST') || (expected === 'DELETE' && generation === 'v0.7')
  if (isUsual(route, method) || (method === 'POST' && takesPost)) return
  throw new KesError('BAD_METHOD', {
    message: `received method '${method}' expected '${expected}'`,
    // Go's server names the method in Accept; RFC 9110 wants Allow (docs/quirks.md).
    headers: { accept: expected, allow: takesPost ? `${expected}, POST` : expected },
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
