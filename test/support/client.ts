/** The client library, as tests use it. */

import { KesClient, type KesClientOptions } from '#src/client/index.js'
import { type Owner, people } from './server.ts'

/** A client that trusts the test server, and is closed with the test. */
export function newClient(t: Owner, options: KesClientOptions): KesClient {
  const client = new KesClient(options)
  t.after(() => client.close())
  return client
}

/** The admin's client. */
export async function adminClient(
  t: Owner,
  endpoints: KesClientOptions['endpoints'],
  options: Partial<KesClientOptions> = {},
): Promise<KesClient> {
  const { server, admin } = await people()
  return newClient(t, { endpoints, cert: admin.cert, key: admin.key, ca: server.cert, ...options })
}

/** All items of an iteration. */
export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

/** What a promise rejects with. */
export async function thrownBy(work: Promise<unknown>): Promise<unknown> {
  try {
    await work
  } catch (error) {
    return error
  }
  throw new Error('it did not reject')
}
