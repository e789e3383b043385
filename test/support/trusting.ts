/**
 * Makes this process find `*.azure.test` on loopback and trust the CA that KES_TEST_CA names; children preload it
 * (`NODE_OPTIONS=--import`). Azure's client wants to see the real names, and has no option for a CA.
 */

import dns from 'node:dns'
import { readFileSync } from 'node:fs'
import tls from 'node:tls'

const lookup = dns.lookup as (...args: unknown[]) => void
dns.lookup = ((...args: unknown[]) => {
  const [host, options] = args
  const done = args.at(-1) as (error: Error | null, ...result: unknown[]) => void
  if (typeof host !== 'string' || !host.endsWith('.azure.test')) return lookup(...args)
  const isList = typeof options === 'object' && options !== null && 'all' in options && options.all
  if (isList === true) setImmediate(done, null, [{ address: '127.0.0.1', family: 4 }])
  else setImmediate(done, null, '127.0.0.1', 4)
}) as typeof dns.lookup

const createSecureContext = tls.createSecureContext
tls.createSecureContext = (options) => {
  const made = createSecureContext(options)
  const context = made.context as { addCACert(pem: Buffer): void }
  context.addCACert(readFileSync(process.env['KES_TEST_CA'] ?? ''))
  return made
}
