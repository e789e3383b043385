/** Clients that keep their connection: many requests over one HTTP/2 session, and followers of the logs. */

import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2'
import { request as httpsRequest } from 'node:https'

import { eventually } from './process.ts'
import type { Answer, Owner } from './server.ts'

type Who = { readonly key: string; readonly cert: string } | undefined

export interface Session {
  readonly http2: ClientHttp2Session
  ask(method: string, path: string, body?: string): Promise<Answer>
  /**
   * The server was killed: whatever was asked has no answer. Node 20 does not always notice that by itself: when what it
   * writes just then fails, it reads no more, and waits.
   */
  abandon(): void
}

export async function openSession(t: Owner, port: number, who: Who): Promise<Session> {
  const http2 = connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false, ...who })
  t.after(() => http2.destroy())
  await new Promise<void>((resolve, reject) => {
    http2.once('remoteSettings', () => resolve())
    http2.once('error', reject)
    http2.once('close', () => reject(new Error('the server has closed the connection')))
  })
  http2.on('error', () => {})
  return {
    http2,
    ask: async (method, path, body) => {
      const stream = http2.request(
        { ':method': method, ':path': path },
        { endStream: body === undefined },
      )
      if (body !== undefined) stream.end(body)
      return answerOf(stream)
    },
    abandon: () => http2.destroy(),
  }
}

export function answerOf(stream: ClientHttp2Stream): Promise<Answer> {
  return new Promise((resolve, reject) => {
    let head: Pick<Answer, 'status' | 'headers'> | undefined
    const chunks: Buffer[] = []
    stream.on('response', (headers) => {
      head = { status: Number(headers[':status']), headers }
    })
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.on('error', reject)
    stream.on('close', () => {
      if (head === undefined || stream.rstCode !== 0)
        reject(new Error(`no answer: the stream was closed with code ${stream.rstCode}`))
      else resolve({ ...head, body: Buffer.concat(chunks).toString() })
    })
  })
}

export interface LogFollower {
  readonly status: number
  /** Complete lines so far. */
  readonly lines: readonly string[]
  readonly hasEnded: () => boolean
  /** Resolves when there are so many lines. */
  until(count: number): Promise<readonly string[]>
}

/** Follows `/v1/log/audit` or `/v1/log/error`; resolves when the head of the answer is there. */
export async function follow(
  t: Owner,
  port: number,
  who: Who,
  path: string,
  http: 'h1' | 'h2',
): Promise<LogFollower> {
  const lines: string[] = []
  let rest = ''
  let ended = false
  const take = (chunk: Buffer): void => {
    const parts = (rest + chunk.toString()).split('\n')
    rest = parts.pop() ?? ''
    lines.push(...parts)
  }
  const end = (): void => void (ended = true)
  const status =
    http === 'h1'
      ? await followHttp1(t, port, who, path, take, end)
      : await followHttp2(t, port, who, path, take, end)
  return {
    status,
    lines,
    hasEnded: () => ended,
    until: async (count) => {
      await eventually(`${count} events on ${path}, ${http}`, () => lines.length >= count)
      return lines
    },
  }
}

function followHttp1(
  t: Owner,
  port: number,
  who: Who,
  path: string,
  take: (chunk: Buffer) => void,
  end: () => void,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = httpsRequest(
      { port, host: '127.0.0.1', path, rejectUnauthorized: false, agent: false, ...who },
      (response) => {
        response.on('data', take)
        response.on('error', end)
        response.on('end', end)
        resolve(response.statusCode ?? 0)
      },
    )
    request.on('error', reject)
    t.after(() => request.destroy())
    request.end()
  })
}

function followHttp2(
  t: Owner,
  port: number,
  who: Who,
  path: string,
  take: (chunk: Buffer) => void,
  end: () => void,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const session = connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false, ...who })
    t.after(() => session.destroy())
    session.on('error', reject)
    const stream = session.request({ ':path': path })
    stream.on('response', (head) => resolve(Number(head[':status'])))
    stream.on('data', take)
    stream.on('error', reject)
    stream.on('close', () => {
      end()
      // No effect once there was an answer.
      reject(new Error('the stream was closed without an answer'))
    })
  })
}
