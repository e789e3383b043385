/** What tests need of certificates that end while they run. */

import { X509Certificate } from 'node:crypto'

import type { Certificate } from './certificates.ts'

/** Milliseconds; the second is for a machine that was busy during the first, and so on. */
const LIFETIMES = [3000, 12_000, 48_000]

/**
 * What must be done before a certificate ends: once more with one that lives longer, if its end came first.
 *
 * @param begin makes the certificate with this lifetime in ms
 * @returns what `begin` does, and when the certificate ends
 */
export async function beforeTheEnd<T extends { readonly member: Certificate }>(
  begin: (lifetime: number) => Promise<T>,
): Promise<T & { readonly expiry: number }> {
  for (const lifetime of LIFETIMES) {
    const start = Date.now()
    try {
      const begun = await begin(lifetime)
      const expiry = Date.parse(new X509Certificate(begun.member.cert).validTo)
      if (Date.now() < expiry) return { ...begun, expiry }
    } catch (error) {
      // Certificates know whole seconds.
      if (Date.now() < start + lifetime - 1000) throw error
    }
  }
  throw new Error('the machine is too slow for this test')
}
