/**
 * Requests as a service's documents say them, in JSON, and whether a request is one of them. A text in <angles> is
 * one of the patterns below, or of the caller; a field whose name ends in ? may be missing. Headers may be more than
 * those of the fixture; everything else is exact.
 */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'

import type { FakeRequest } from './fake-http.ts'

export interface Fixture {
  readonly operation: string
  readonly method: string
  /** With the query. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  /** Parsed JSON; absent: no body. */
  readonly body?: unknown
}

const PATTERNS: Readonly<Record<string, RegExp>> = {
  any: /^.*$/s,
  name: /^[0-9A-Za-z_-]+$/,
  uuid: /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/,
}

export class Fixtures {
  readonly #all: readonly Fixture[]
  readonly #patterns: Readonly<Record<string, RegExp>>

  /** @param file below test/keystore/fixtures */
  constructor(file: string, patterns: Readonly<Record<string, RegExp>> = {}) {
    this.#all = JSON.parse(readFileSync(`test/keystore/fixtures/${file}`, 'utf8')) as Fixture[]
    this.#patterns = { ...PATTERNS, ...patterns }
  }

  /** Which operation a request is. @throws AssertionError when it is none, or not exactly as it should be */
  operation({ method, path, headers, body }: FakeRequest, hint?: string): string {
    const found = this.#all.filter(
      (fixture) =>
        fixture.method === method &&
        this.#matches(path, fixture.path) &&
        (hint === undefined || fixture.operation === hint),
    )
    assert.notEqual(found.length, 0, `no operation: ${hint ?? ''} ${method} ${path}`)
    const failures = found.map((fixture) => {
      try {
        for (const [name, pattern] of Object.entries(fixture.headers ?? {}))
          this.#check(headers[name], pattern, `header ${name}`)
        const json: unknown = body === '' ? undefined : JSON.parse(body)
        this.#check(json, fixture.body, 'body')
        return fixture.operation
      } catch (error) {
        return error as Error
      }
    })
    const fine = failures.find((failure) => typeof failure === 'string')
    const complaints = failures.map((failure) => (failure as Error).message)
    return fine ?? assert.fail(complaints.join('; or '))
  }

  #check(value: unknown, pattern: unknown, where: string): void {
    if (typeof pattern === 'string') {
      assert.equal(typeof value, 'string', `${where} is ${typeof value}`)
      assert.ok(
        this.#matches(String(value), pattern),
        `${where}: ${String(value)} is no ${pattern}`,
      )
    } else if (Array.isArray(pattern)) {
      assert.ok(Array.isArray(value) && value.length === pattern.length, where)
      for (const [index, item] of pattern.entries())
        this.#check(value[index], item, `${where}[${index}]`)
    } else if (typeof pattern === 'object' && pattern !== null) {
      assert.ok(typeof value === 'object' && value !== null, `${where} is no object`)
      const fields = new Map<string, unknown>(Object.entries(value))
      for (const [key, inner] of Object.entries(pattern)) {
        const name = key.replace(/\?$/, '')
        if (name === key || fields.has(name))
          this.#check(fields.get(name), inner, `${where}.${name}`)
        fields.delete(name)
      }
      assert.deepEqual([...fields.keys()], [], `${where} has more`)
    } else {
      assert.deepEqual(value, pattern, where)
    }
  }

  #matches(text: string, pattern: string): boolean {
    const source = pattern
      .split(/(<[a-z0-9-]+>)/)
      .map((part) => {
        const name = /^<(.+)>$/.exec(part)?.[1]
        if (name === undefined) return part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')
        const inner = this.#patterns[name]
        assert.ok(inner, `no pattern <${name}>`)
        return `(?:${inner.source.replace(/^\^|\$$/g, '')})`
      })
      .join('')
    return new RegExp(`^${source}$`, 's').test(text)
  }
}
