/**
 * A keystore that is reached over a socket, through a proxy that a test can break: a line of JSON each way, one
 * connection per call.
 */

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

import { type ErrorCode, KesError } from '#src/errors.js'
import { type KeyStore, KeyStoreError } from '#src/keystore/keystore.js'
import type { Listing, Page } from '#src/names.js'
import { SIGNAL } from './bytes.ts'
import { ChaosProxy } from './chaos-proxy.ts'
import type { Owner } from './server.ts'
import { FakeStore } from './store.ts'

type Method = Exclude<keyof KeyStore, 'close'>

/** Bytes are in base64; nothing at all for a call without a result. */
type Answer = { readonly result?: unknown } | { readonly code: ErrorCode }

export interface Remote {
  /** What is at the other end: its entries, and how often it was asked. */
  readonly backend: FakeStore
  readonly proxy: ChaosProxy
  readonly store: KeyStore
}

export async function tcpStore(t: Owner): Promise<Remote> {
  const backend = new FakeStore()
  const server = createServer((socket) => void serve(socket, backend).catch(() => socket.destroy()))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const proxy = await ChaosProxy.start(t, { port: (server.address() as AddressInfo).port })
  return { backend, proxy, store: new TcpStore(proxy.port) }
}

async function serve(socket: Socket, backend: FakeStore): Promise<void> {
  const [method, ...given]: [Method, ...unknown[]] = JSON.parse(await line(socket))
  const answer: Answer = await METHODS[method](backend, ...given).then(
    (result) => ({ result }),
    (error: KesError) => ({ code: error.code }),
  )
  socket.end(`${JSON.stringify(answer)}\n`)
}

const METHODS: Readonly<
  Record<Method, (backend: FakeStore, ...given: readonly unknown[]) => Promise<unknown>>
> = {
  status: (backend) => backend.status(),
  create: (backend, name, value) =>
    backend.create(String(name), Buffer.from(String(value), 'base64')),
  get: async (backend, name) => Buffer.from(await backend.get(String(name))).toString('base64'),
  delete: (backend, name) => backend.delete(String(name)),
  list: (backend, listing, limit) => backend.list(listing as Listing, Number(limit)),
}

class TcpStore implements KeyStore {
  readonly #port: number

  constructor(port: number) {
    this.#port = port
  }

  async status(signal: AbortSignal): Promise<void> {
    await this.#call(signal, 'status')
  }

  async create(name: string, value: Uint8Array, signal: AbortSignal): Promise<void> {
    await this.#call(signal, 'create', name, Buffer.from(value).toString('base64'))
  }

  async get(name: string, signal: AbortSignal): Promise<Uint8Array> {
    return Buffer.from((await this.#call(signal, 'get', name)) as string, 'base64')
  }

  async delete(name: string, signal: AbortSignal): Promise<void> {
    await this.#call(signal, 'delete', name)
  }

  async list(listing: Listing, limit: number, signal: AbortSignal): Promise<Page> {
    return (await this.#call(signal, 'list', listing, limit)) as Page
  }

  async close(): Promise<void> {}

  async #call(signal: AbortSignal, ...words: [Method, ...unknown[]]): Promise<unknown> {
    const socket = connect({ port: this.#port, host: '127.0.0.1' })
    socket.write(`${JSON.stringify(words)}\n`)
    try {
      const answer: Answer = JSON.parse(await line(socket, signal))
      if ('code' in answer) throw new KesError(answer.code)
      return answer.result
    } catch (error) {
      if (error instanceof KesError || signal.aborted) throw error
      throw new KeyStoreError('unreachable', (error as Error).message, { cause: error })
    } finally {
      socket.destroy()
    }
  }
}

/** What comes until the first line feed. */
async function line(socket: Socket, signal = SIGNAL): Promise<string> {
  let text = ''
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error)
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort, { once: true })
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString()
      if (text.endsWith('\n')) resolve(text)
    })
    socket.on('error', reject)
    socket.on('close', () => {
      signal.removeEventListener('abort', abort)
      reject(new Error('the connection was closed'))
    })
  })
}
