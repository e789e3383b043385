/** Clients that are gone before they have their answer, some before they have asked. */

import { randomInt } from 'node:crypto'
import { constants } from 'node:http2'
import { connect as tcpConnect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as tlsConnect } from 'node:tls'

import type { Certificate } from '../support/certificates.ts'
import type { Owner } from '../support/server.ts'
import { openSession } from '../support/session.ts'

/** What ends before the test does. */
export class Scope implements Owner {
  #ends: (() => unknown)[] = []

  after(end: () => unknown): void {
    this.#ends.push(end)
  }

  async end(): Promise<void> {
    for (const end of this.#ends.splice(0)) await end()
  }
}

export function to(port: number, who: Certificate | undefined) {
  return {
    port,
    host: '127.0.0.1',
    rejectUnauthorized: false,
    ...(who && { key: who.key, cert: who.cert }),
  }
}

/** At some time in a TLS handshake, or before it. */
export function vanishOnTcp(port: number): Promise<void> {
  const hello = Buffer.from('1603010200010001fc0303', 'hex')
  return new Promise((resolve) => {
    const socket = tcpConnect({ port, host: '127.0.0.1' }, () => {
      if (randomInt(2) === 0) socket.write(hello.subarray(0, randomInt(hello.length)))
      setTimeout(() => socket.destroy(), randomInt(50))
    })
    socket.on('error', () => {})
    socket.on('close', () => resolve())
  })
}

export function vanishOnTls(port: number, who: Certificate, bytes: string): Promise<void> {
  return new Promise((resolve) => {
    const socket = tlsConnect(to(port, who), () => {
      socket.write(bytes)
      // Some half-close, some are just gone.
      const leave = randomInt(3) === 0 ? () => socket.end() : () => socket.destroy()
      setTimeout(leave, randomInt(50))
      setTimeout(() => socket.destroy(), 2000)
    })
    socket.resume()
    socket.on('error', () => {})
    socket.on('close', () => resolve())
  })
}

export async function vanishOnHttp2(port: number, who: Certificate): Promise<void> {
  const scope = new Scope()
  const { http2 } = await openSession(scope, port, who)
  for (let i = 0; i < 3; i++) {
    const stream = http2.request({ ':method': 'PUT', ':path': '/v1/key/encrypt/soak-a' })
    stream.on('error', () => {})
    stream.write('{"plaintext":"')
    if (randomInt(2) === 0) setTimeout(() => stream.close(constants.NGHTTP2_CANCEL), randomInt(20))
  }
  await sleep(randomInt(50))
  await scope.end()
}
