/** Servers that do whatever a test likes: answer oddly, cut connections, fall silent. Each on a port of its own. */

import type { IncomingMessage, ServerResponse } from 'node:http'
import { createSecureServer, type Http2Session, type ServerHttp2Stream } from 'node:http2'
import { createServer as createHttpsServer } from 'node:https'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TLSSocket, type TlsOptions } from 'node:tls'

import { type Owner, people } from './server.ts'

export interface Peer {
  readonly port: number
  /** `https://localhost:port` */
  readonly url: string
  /** TCP connections so far. */
  connections(): number
  /** Those that are open now. */
  open(): number
  /** Cuts them all. */
  cut(): void
  /** As cut, and nobody listens any more. */
  stop(): Promise<void>
}

async function start(t: Owner, server: Server, port = 0): Promise<Peer> {
  const sockets = new Set<Socket>()
  let count = 0
  server.on('connection', (socket: Socket) => {
    count++
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
  })
  server.on('tlsClientError', () => {})
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  const cut = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  const stop = async (): Promise<void> => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()))
    cut()
    await closed
  }
  t.after(stop)
  const { port: chosen } = server.address() as AddressInfo
  return {
    port: chosen,
    url: `https://localhost:${chosen}`,
    connections: () => count,
    open: () => sockets.size,
    cut,
    stop,
  }
}

interface Where {
  readonly tls?: TlsOptions
  readonly port?: number
}

/** What a server of this file has been asked. */
export interface Asked {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, unknown>>
  readonly body: Buffer
}

/** Answers over HTTP/2. `onSession` sees each connection. */
export async function http2Peer(
  t: Owner,
  onStream: (stream: ServerHttp2Stream, asked: Asked, session: Http2Session) => void,
  options: Where & {
    readonly settings?: { maxConcurrentStreams?: number }
    readonly onSession?: (session: Http2Session) => void
  } = {},
): Promise<Peer> {
  const { server: cast } = await people()
  const server = createSecureServer({
    key: cast.key,
    cert: cast.cert,
    ...options.tls,
    ...(options.settings && { settings: options.settings }),
  })
  server.on('session', (session: Http2Session) => {
    session.on('error', () => {})
    options.onSession?.(session)
  })
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    stream.on('error', () => {})
    const chunks: Buffer[] = []
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.on('end', () => {
      const { ':method': method = '', ':path': path = '' } = headers
      const { session } = stream
      if (session === undefined) return
      onStream(stream, { method, path, headers, body: Buffer.concat(chunks) }, session)
    })
  })
  return start(t, server, options.port)
}

/** Answers over HTTP/1.1. */
export async function http1Peer(
  t: Owner,
  onRequest: (response: ServerResponse, asked: Asked, request: IncomingMessage) => void,
  options: Where = {},
): Promise<Peer> {
  const { server: cast } = await people()
  const server = createHttpsServer({ key: cast.key, cert: cast.cert, ...options.tls })
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = []
    request.on('error', () => {})
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const { method = '', url: path = '', headers } = request
      onRequest(response, { method, path, headers, body: Buffer.concat(chunks) }, request)
    })
  })
  return start(t, server, options.port)
}

/** Speaks TLS, and then whatever bytes it likes. */
export async function tlsPeer(
  t: Owner,
  onSocket: (socket: TLSSocket) => void,
  tls: TlsOptions = {},
): Promise<Peer> {
  const { server: cast } = await people()
  const server = createTlsServer(
    { key: cast.key, cert: cast.cert, ALPNProtocols: ['h2', 'http/1.1'], ...tls },
    (socket) => {
      socket.on('error', () => {})
      socket.resume()
      onSocket(socket)
    },
  )
  return start(t, server)
}

/** Speaks whatever bytes it likes, without TLS. */
export function tcpPeer(t: Owner, onSocket: (socket: Socket) => void): Promise<Peer> {
  return start(
    t,
    createServer((socket) => {
      socket.resume()
      onSocket(socket)
    }),
  )
}

export interface Relay extends Peer {
  /** From now on the connections that exist swallow everything and answer nothing, as if a cable were cut. */
  freeze(): void
}

/** Passes everything on to another port. */
export async function relay(t: Owner, to: number): Promise<Relay> {
  const pairs = new Set<[Socket, Socket]>()
  const peer = await tcpPeer(t, (socket) => {
    const other = connect({ port: to, host: '127.0.0.1' })
    const pair: [Socket, Socket] = [socket, other]
    pairs.add(pair)
    socket.on('data', (chunk) => other.write(chunk))
    other.on('data', (chunk) => socket.write(chunk))
    other.on('error', () => {})
    for (const one of pair) {
      one.on('close', () => {
        pairs.delete(pair)
        for (const each of pair) each.destroy()
      })
    }
  })
  const freeze = (): void => {
    for (const [socket, other] of pairs) {
      socket.removeAllListeners('data')
      other.removeAllListeners('data')
      socket.resume()
      other.resume()
    }
  }
  return { ...peer, freeze }
}

/** A whole answer over HTTP/2; nothing once the client has gone. */
export function answer(stream: ServerHttp2Stream, body: string, status = 200): void {
  if (stream.destroyed || stream.closed) return
  stream.respond({ ':status': status, 'content-type': 'application/json' })
  stream.end(body)
}

/** A port that nobody listens on: somebody just did, so the kernel gives it to nobody else soon. */
export async function deadPort(t: Owner): Promise<number> {
  const peer = await tcpPeer(t, () => {})
  await peer.stop()
  return peer.port
}

/** An HTTP/2 frame. */
export function frame(type: number, flags: number, id: number, payload?: Buffer): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload?.length ?? 0, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(id, 5)
  return payload === undefined ? head : Buffer.concat([head, payload])
}

/** Two 32-bit words, as GOAWAY and others have them. */
export function words(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4)
  for (const [index, value] of values.entries()) bytes.writeUInt32BE(value, index * 4)
  return bytes
}
