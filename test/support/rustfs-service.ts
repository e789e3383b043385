/** What tests of the service behind the RustFS KMS Admin API share. */

import assert from 'node:assert/strict'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { type Called, type RustfsServer, type RustfsOptions, startRustfs } from './rustfs.ts'
import { tempDir } from './server.ts'

export const MASTER_KEY = 'correct horse battery staple'

export interface Fresh {
  readonly server: RustfsServer
  /** A body that configures the backend `local`. */
  readonly local: Readonly<Record<string, unknown>>
  /** `key_root`; not there yet. */
  readonly root: string
}

/** A server whose service is not configured, but may be; APP may use keys. */
export async function freshService(
  t: TestContext,
  rustfs = '',
  options: RustfsOptions = {},
): Promise<Fresh> {
  const root = join(tempDir(t), 'root')
  const server = await startRustfs(t, {
    rustfs: `start:\nkey_root: ${root}\n${rustfs}`,
    app: 'allow: [/v1/key/*]',
    ...options,
  })
  const local = {
    backend_type: 'Local',
    key_dir: join(root, 'keys'),
    master_key: MASTER_KEY,
  }
  return { server, root, local }
}

export async function ok(answer: Promise<Called>, status = 200): Promise<Called['json']> {
  const { json, body, status: got } = await answer
  assert.equal(got, status, body)
  return json
}

/** A refusal of the one shape. */
export async function refused(
  answer: Promise<Called>,
  status: number,
  message: RegExp,
): Promise<Called['json']> {
  const { json, body, status: got } = await answer
  assert.equal(got, status, body)
  assert.equal(json['success'], false)
  assert.match(String(json['message']), message)
  return json
}

/** Asks until the answer is yes; fails after 20 s. */
export async function until(what: string, look: () => Promise<boolean>): Promise<void> {
  for (const limit = performance.now() + 20_000; performance.now() < limit; await sleep(20))
    if (await look()) return
  assert.fail(`not within 20 s: ${what}`)
}

/** Resolves when the log has it; servers in other processes log a moment later. */
export function logged(server: Pick<RustfsServer, 'stderr'>, line: RegExp): Promise<void> {
  return until(`the log has ${line.source}`, async () => line.test(server.stderr()))
}
