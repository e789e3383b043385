/** What months bring to a server, in minutes: clients of every kind, good and bad, on many connections. */

import { randomBytes, randomInt } from 'node:crypto'
import { Agent, request as httpsRequest } from 'node:https'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as tlsConnect } from 'node:tls'

import type { Certificate } from '../support/certificates.ts'
import { ask, type Answer } from '../support/server.ts'
import { answerOf, openSession } from '../support/session.ts'
import { visit } from '../support/visitor.ts'
import { http1 } from '../support/wire.ts'
import { Scope, to, vanishOnHttp2, vanishOnTcp, vanishOnTls } from './vanish.ts'

export interface Target {
  readonly port: number
  readonly pid: number
  /** With rights to everything that is named `soak-…`, and to follow logs. */
  readonly users: readonly Certificate[]
  readonly nobody: Certificate
  /** Of no CA that the server knows. */
  readonly stranger: Certificate
  /** A TLS proxy. */
  readonly proxy: Certificate
}

/** Keys that are there from the beginning to the end. */
export const KEYS = ['soak-a', 'soak-b', 'soak-c'] as const
const HEADER = 'x-tls-client-cert'
/** Faults beyond it would not say more. */
const MAX_FAULTS = 20
/** Milliseconds after which a follower that does not read goes by itself. */
const PATIENCE = 20_000

type Ask = (method: string, path: string, body?: string) => Promise<Answer>

export class Load {
  readonly #target: Target
  readonly #scope = new Scope()
  readonly #actors: Promise<void>[] = []
  #isStopping = false
  /** Answers so far, good and bad. */
  answers = 0
  connections = 0
  /** What was not as it must be. */
  readonly faults: string[] = []

  constructor(target: Target) {
    this.#target = target
  }

  /** Until `stop`. */
  async start(): Promise<void> {
    const { users } = this.#target
    for (const user of users) {
      this.#repeat('calls over HTTP/2', 20, this.#calls(await this.#onSession(user)))
      this.#repeat('calls over HTTP/1.1', 20, this.#calls(this.#onAgent(user)))
      this.#repeat('the life of a key', 60, this.#life(await this.#onSession(user)))
      this.#repeat('listings', 200, this.#listings(this.#onAgent(user)))
      this.#repeat('refusals', 40, this.#refusals(await this.#onSession(user)))
      this.#repeat('refusals', 40, this.#refusals(this.#onAgent(user)))
      this.#repeat('new connections', 150, this.#newConnections(user))
      this.#repeat('resumed sessions', 150, this.#resumptions(user))
      this.#repeat('followers', 300, this.#followers(user))
      this.#repeat('clients that vanish', 60, this.#vanishing(user))
    }
    this.#repeat('calls through a proxy', 20, await this.#proxied())
    this.#repeat('a follower that does not read', 500, this.#deafFollower())
    this.#repeat('reloads', 3000, async () => void process.kill(this.#target.pid, 'SIGHUP'))
  }

  /** Lets everybody finish what he is at, and closes all connections. */
  async stop(): Promise<void> {
    this.#isStopping = true
    await Promise.all(this.#actors)
    await this.#scope.end()
  }

  /** @param pause milliseconds between two turns, on average */
  #repeat(what: string, pause: number, turn: () => Promise<void>): void {
    const act = async (): Promise<void> => {
      while (!this.#isStopping) {
        try {
          await turn()
        } catch (error) {
          this.#note(`${what}: ${(error as Error).message}`)
        }
        await sleep(randomInt(Math.ceil(2 * pause)))
      }
    }
    this.#actors.push(act())
  }

  #note(fault: string): void {
    if (this.faults.length < MAX_FAULTS) this.faults.push(fault)
  }

  /** Notes another status than the expected one. */
  async #expect(status: number, what: string, asked: Promise<Answer>): Promise<Answer> {
    const answer = await asked
    this.answers++
    if (answer.status !== status) this.#note(`${what}: ${answer.status} ${answer.body}`)
    return answer
  }

  async #onSession(who: Certificate): Promise<Ask> {
    this.connections++
    return (await openSession(this.#scope, this.#target.port, who)).ask
  }

  #onAgent(who: Certificate): Ask {
    this.connections++
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    this.#scope.after(() => agent.destroy())
    return (method, path, body) =>
      ask(this.#target.port, who, method, path, { http: 'h1', agent, ...(body && { body }) })
  }

  #calls(on: Ask): () => Promise<void> {
    return async () => {
      const key = KEYS[randomInt(KEYS.length)] ?? ''
      const context = randomBytes(20).toString('base64')
      const call = async (operation: string, fields: object): Promise<Record<string, string>> => {
        const path = `/v1/key/${operation}/${key}`
        const { body } = await this.#expect(200, operation, on('PUT', path, JSON.stringify(fields)))
        return JSON.parse(body)
      }
      const { plaintext, ciphertext } = await call('generate', { context })
      const opened = await call('decrypt', { ciphertext, context })
      if (opened['plaintext'] !== plaintext) this.#note('decrypt: another data key')
      const size = randomInt(100) === 0 ? 700_000 : randomInt(2000)
      const message = randomBytes(size).toString('base64')
      const sealed = await call('encrypt', { plaintext: message, context })
      const unsealed = await call('decrypt', { ciphertext: sealed['ciphertext'], context })
      if (unsealed['plaintext'] !== message) this.#note('decrypt: another plaintext')
      await call('hmac', { message: context })
      await this.#expect(200, 'describe', on('GET', `/v1/key/describe/${key}`))
    }
  }

  #life(on: Ask): () => Promise<void> {
    return async () => {
      const name = `soak-life-${randomBytes(8).toString('hex')}`
      await this.#expect(200, 'create', on('PUT', `/v1/key/create/${name}`))
      await this.#expect(400, 'create again', on('PUT', `/v1/key/create/${name}`))
      await this.#expect(200, 'generate', on('PUT', `/v1/key/generate/${name}`, '{}'))
      await this.#expect(200, 'delete', on('DELETE', `/v1/key/delete/${name}`))
      await this.#expect(404, 'describe', on('GET', `/v1/key/describe/${name}`))
    }
  }

  #listings(on: Ask): () => Promise<void> {
    return async () => {
      await this.#expect(200, 'list', on('GET', '/v1/key/list/soak-*'))
      await this.#expect(200, 'self describe', on('GET', '/v1/identity/self/describe'))
      await this.#expect(200, 'version', on('GET', '/version'))
      await this.#expect(200, 'status', on('GET', '/v1/status'))
    }
  }

  #refusals(on: Ask): () => Promise<void> {
    const refused: readonly (readonly [number, string, string, string?])[] = [
      [403, 'PUT', '/v1/key/create/others'],
      [403, 'GET', '/v1/metrics'],
      [404, 'PUT', '/v1/key/generate/soak-absent', '{}'],
      [404, 'GET', '/v1/nothing'],
      [405, 'GET', '/v1/key/create/soak-a'],
      [400, 'PUT', '/v1/key/encrypt/soak-a', '{'],
      [400, 'PUT', '/v1/key/encrypt/soak-a', '{"plaintext":"***"}'],
      [400, 'PUT', '/v1/key/decrypt/soak-a', '{"ciphertext":"AAAA"}'],
      [400, 'PUT', '/v1/key/create/soak-%2e'],
    ]
    return async () => {
      const [status, method, path, body] = refused[randomInt(refused.length)] ?? [404, 'GET', '/']
      await this.#expect(status, `${method} ${path}`, on(method, path, body))
    }
  }

  #newConnections(user: Certificate): () => Promise<void> {
    const { port, nobody, stranger } = this.#target
    return async () => {
      const http = randomInt(2) === 0 ? 'h1' : 'h2'
      const dice = randomInt(10)
      this.connections++
      if (dice === 0) await isRefused(ask(port, stranger, 'GET', '/version', { http }))
      else if (dice === 1) await isRefused(ask(port, undefined, 'GET', '/version', { http }))
      else if (dice === 2) {
        const path = '/v1/key/generate/soak-a'
        await this.#expect(403, 'nobody', ask(port, nobody, 'PUT', path, { http, body: '{}' }))
      } else if (dice === 3) {
        const body = Buffer.alloc(1_100_000, 'x')
        const path = '/v1/key/encrypt/soak-a'
        await this.#expect(413, 'too large', ask(port, user, 'PUT', path, { http, body }))
      } else await this.#expect(200, 'version', ask(port, user, 'GET', '/version', { http }))
    }
  }

  #resumptions(user: Certificate): () => Promise<void> {
    return async () => {
      const version = randomInt(2) === 0 ? 'TLSv1.2' : 'TLSv1.3'
      const { session } = await visit(this.#target.port, user, version)
      const again = await visit(this.#target.port, user, version, session ? { session } : {})
      this.connections += 2
      this.answers += 2
      if (again.identity !== user.identity) this.#note(`a resumed session: ${again.status}`)
    }
  }

  #followers(user: Certificate): () => Promise<void> {
    const { port } = this.#target
    return async () => {
      const scope = new Scope()
      const path = randomInt(2) === 0 ? '/v1/log/audit' : '/v1/log/error'
      this.connections++
      if (randomInt(2) === 0) {
        const { http2 } = await openSession(scope, port, user)
        const stream = http2.request({ ':path': path })
        stream.on('error', () => {})
        stream.resume()
        await sleep(randomInt(1500))
        // Some say good-bye.
        if (randomInt(2) === 0) stream.close()
      } else {
        const request = httpsRequest({ ...to(port, user), path, agent: false }, (response) => {
          response.on('error', () => {})
          response.resume()
        })
        request.on('error', () => {})
        request.end()
        await sleep(randomInt(1500))
        request.destroy()
      }
      await scope.end()
    }
  }

  /** Takes the head of the answer and nothing else, until the server cuts it off. */
  #deafFollower(): () => Promise<void> {
    const { port, users } = this.#target
    return () =>
      new Promise((resolve) => {
        const socket = tlsConnect(to(port, users[0]))
        const begin = performance.now()
        const watch = setInterval(() => {
          if (this.#isStopping || performance.now() - begin > PATIENCE) socket.destroy()
        }, 200)
        this.connections++
        socket.on('error', () => {})
        socket.on('close', () => {
          clearInterval(watch)
          resolve()
        })
        socket.on('secureConnect', () => socket.write(http1('GET', '/v1/log/audit', [])))
        socket.once('data', () => socket.pause())
      })
  }

  #vanishing(user: Certificate): () => Promise<void> {
    const { port } = this.#target
    const head = http1('PUT', '/v1/key/encrypt/soak-a', ['Content-Length: 1000'])
    const early = [
      '',
      'PUT /v1/key/enc',
      head,
      `${head}{"plaintext":"`,
      `${http1('GET', '/version', [])}${head}`,
      http1('GET', '/v1/log/audit', []),
      '\u0000garbage\r\n\r\n',
    ]
    return async () => {
      this.connections++
      const dice = randomInt(4)
      if (dice === 0) return vanishOnTcp(port)
      if (dice === 1) return vanishOnHttp2(port, user)
      await vanishOnTls(port, user, early[randomInt(early.length)] ?? '')
    }
  }

  async #proxied(): Promise<() => Promise<void>> {
    const { port, users, proxy, stranger } = this.#target
    const { http2 } = await openSession(this.#scope, port, proxy)
    this.connections++
    const certificates = [...users, stranger].map(({ cert }) => encodeURIComponent(cert))
    return async () => {
      const number = randomInt(certificates.length)
      const stream = http2.request({
        ':path': '/v1/identity/self/describe',
        [HEADER]: certificates[number],
      })
      const expected = number < users.length ? 200 : 400
      const { body } = await this.#expect(expected, 'through a proxy', answerOf(stream))
      const { identity } = JSON.parse(body) as { identity?: string }
      if (identity !== users[number]?.identity) this.#note('through a proxy: another identity')
    }
  }
}

async function isRefused(asked: Promise<unknown>): Promise<void> {
  let answer: unknown
  try {
    answer = await asked
  } catch {
    return
  }
  throw new Error(`an answer where none is due: ${JSON.stringify(answer)}`)
}
