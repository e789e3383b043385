/**
 * Programs that some tests start: real servers and the like. Where one is missing the test skips and says what to
 * install; where KES_TEST_REQUIRE is set, as in CI, it fails instead.
 */

import { accessSync, constants, readdirSync } from 'node:fs'
import { delimiter, join, resolve } from 'node:path'

/** Where `.ci/install` puts what it installs, and Debian what is not for everybody's PATH. */
function places(): string[] {
  const path = (process.env['PATH'] ?? '').split(delimiter)
  return [...path, resolve('.ci/tools/venv/bin'), '/usr/sbin', ...postgresqlPlaces()]
}

function postgresqlPlaces(): string[] {
  const root = '/usr/lib/postgresql'
  try {
    return readdirSync(root).map((version) => join(root, version, 'bin'))
  } catch {
    return []
  }
}

/** Path of the first of these programs that this machine has. */
export function findTool(...names: readonly string[]): string | undefined {
  return names
    .flatMap((name) => places().map((place) => join(place, name)))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK)
        return true
      } catch {
        return false
      }
    })
}

/**
 * For node:test's `skip`: false when all of these programs are there, else what is missing.
 *
 * @throws Error where tests must not skip (KES_TEST_REQUIRE)
 */
export function without(...names: readonly string[]): string | false {
  const missing = names.filter((name) => findTool(name) === undefined)
  if (missing.length === 0) return false
  const message = `not installed: ${missing.join(', ')} (.ci/install has them)`
  if ((process.env['KES_TEST_REQUIRE'] ?? '') !== '') throw new Error(message)
  return message
}
