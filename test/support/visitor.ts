/** Clients that show how they are let in: on a connection of their own, on a resumed session, on one they keep. */

import { createHash } from 'node:crypto'
import { connect, type ConnectionOptions, type SecureVersion, type TLSSocket } from 'node:tls'

import type { Owner } from './server.ts'
import { http1 } from './wire.ts'

type Who = { readonly key: string; readonly cert: string } | undefined

const SELF = '/v1/identity/self/describe'

function optionsOf(port: number, who: Who, version?: SecureVersion): ConnectionOptions {
  return {
    port,
    host: '127.0.0.1',
    rejectUnauthorized: false,
    ...(version && { minVersion: version, maxVersion: version }),
    ...(who && { key: who.key, cert: who.cert }),
  }
}

export interface Visit {
  readonly isReused: boolean
  /** The session to resume next time. */
  readonly session: Buffer | undefined
  /** 'closed' when the server closed without an answer. */
  readonly status: number | 'closed'
  /** As the server sees it, where self describe was asked for and answered. */
  readonly identity: string | undefined
  /** SHA-256 of the server's certificate, in hex; undefined without a handshake. */
  readonly server: string | undefined
}

/** One request over TLS of one version, which resumes a session if there is one. */
export function visit(
  port: number,
  who: Who,
  version: SecureVersion,
  {
    session,
    path = SELF,
  }: Pick<Partial<Visit>, 'session'> & { readonly path?: string | undefined } = {},
): Promise<Visit> {
  return new Promise((resolve, reject) => {
    const socket = connect({ ...optionsOf(port, who, version), ...(session && { session }) })
    let received = ''
    let isReused = false
    let latest: Buffer | undefined
    let server: string | undefined
    socket.on('session', (ticket: Buffer) => (latest = ticket))
    socket.on('secureConnect', () => {
      isReused = socket.isSessionReused()
      server = fingerprint(socket)
      socket.write(http1('GET', path))
    })
    socket.on('data', (chunk: Buffer) => (received += chunk.toString()))
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED') reject(error)
    })
    socket.on('close', () =>
      resolve({
        isReused,
        session: latest,
        status: statusOf(received) ?? 'closed',
        identity: /"identity":"([0-9a-f]{64})"/.exec(received)?.[1],
        server,
      }),
    )
  })
}

function statusOf(received: string): number | undefined {
  const status = /^HTTP\/1\.1 (\d{3}) /.exec(received)?.[1]
  return status === undefined ? undefined : Number(status)
}

function fingerprint(socket: TLSSocket): string | undefined {
  const { raw } = socket.getPeerX509Certificate() ?? {}
  return raw && createHash('sha256').update(raw).digest('hex')
}

/** An HTTP/1.1 connection that is kept, and what becomes of it. */
export interface Kept {
  /** The status, or 'closed' when the server has ended the connection instead. */
  ask(method: string, path: string): Promise<number | 'closed'>
  readonly isClosed: () => boolean
}

/** Resolves when the handshake is done. */
export async function keep(t: Owner, port: number, who: Who): Promise<Kept> {
  const socket = connect(optionsOf(port, who))
  t.after(() => socket.destroy())
  let received = ''
  let isClosed = false
  let onNews = (): void => {}
  socket.on('error', () => {})
  socket.on('data', (chunk: Buffer) => {
    received += chunk.toString('latin1')
    onNews()
  })
  socket.on('close', () => {
    isClosed = true
    onNews()
  })
  await new Promise<void>((resolve, reject) => {
    socket.once('secureConnect', resolve)
    socket.once('error', reject)
  })
  return {
    isClosed: () => isClosed,
    ask: (method, path) =>
      new Promise((resolve) => {
        received = ''
        onNews = () => {
          if (isComplete(received)) resolve(statusOf(received) ?? 'closed')
          else if (isClosed) resolve('closed')
        }
        onNews()
        socket.write(http1(method, path, []))
      }),
  }
}

function isComplete(answer: string): boolean {
  const length = /^content-length: (\d+)\r$/im.exec(answer)?.[1]
  const body = answer.indexOf('\r\n\r\n') + 4
  return body >= 4 && length !== undefined && answer.length >= body + Number(length)
}
