/** Clients that write whatever they like on a connection, and tell what came back. */

import { connect as tcpConnect, type Socket } from 'node:net'
import { connect as tlsConnect, type ConnectionOptions, type TLSSocket } from 'node:tls'

export interface Talk {
  /** What the server sent, one character per byte. */
  readonly text: string
  /** The server, not we, ended the connection. */
  readonly closed: boolean
  /** Code of the error that ended it, or ''. */
  readonly error: string
  /** The agreed protocol; false without one. */
  readonly alpn: string | false | null
  readonly tls: string | null
}

export interface TalkOptions {
  readonly tls?: ConnectionOptions
  readonly bytes: string | Buffer
  /** We end the connection once this holds; absent: the server is to end it. */
  readonly until?: (text: string) => boolean
  /** Milliseconds until we end it in any case. */
  readonly wait?: number
}

/** Writes bytes in a TLS connection. */
export function talk(port: number, { tls, ...options }: TalkOptions): Promise<Talk> {
  const socket = tlsConnect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...tls })
  return listen(socket, 'secureConnect', options)
}

/** Writes bytes in a connection without TLS. */
export function talkPlainly(port: number, options: Omit<TalkOptions, 'tls'>): Promise<Talk> {
  return listen(tcpConnect({ port, host: '127.0.0.1' }), 'connect', options)
}

function listen(
  socket: Socket | TLSSocket,
  ready: string,
  { bytes, until, wait = 5000 }: Omit<TalkOptions, 'tls'>,
): Promise<Talk> {
  return new Promise((resolve) => {
    let [text, closed, error] = ['', true, '']
    let [alpn, tls]: [Talk['alpn'], Talk['tls']] = [null, null]
    const leave = (): void => {
      closed = false
      socket.destroy()
    }
    const timer = setTimeout(leave, wait)
    socket.on(ready, () => {
      if ('alpnProtocol' in socket) [alpn, tls] = [socket.alpnProtocol, socket.getProtocol()]
      socket.write(bytes)
    })
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
      if (until?.(text)) leave()
    })
    socket.on('error', (thrown: NodeJS.ErrnoException) => {
      error = thrown.code ?? thrown.message
    })
    socket.on('close', () => {
      clearTimeout(timer)
      resolve({ text, closed, error, alpn, tls })
    })
  })
}

/** An HTTP/1.1 request as bytes; the server ends the connection after it unless `headers` say otherwise. */
export function http1(
  method: string,
  path: string,
  headers: readonly string[] = ['Connection: close'],
  body = '',
): string {
  return [`${method} ${path} HTTP/1.1`, 'Host: localhost', ...headers, '', body].join('\r\n')
}
