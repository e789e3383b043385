/**
 * A TCP proxy between a client and a server that a test can make slow, mute, broken or absent; and names whose
 * address a test can change. It knows no protocol.
 */

import dns from 'node:dns'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { mock } from 'node:test'

import type { Owner } from './server.ts'

/**
 * `hang`: connections are taken, and kept, but no byte goes through; what came meanwhile goes on with the next mode.
 * `mute`: the same, but only for what the server says.
 * `reset`: connections are taken and reset. `refuse`: nobody listens. `{ delay }`: milliseconds, each way, each chunk.
 * Those that are open are cut by `reset` and `refuse`.
 */
export type Chaos = 'pass' | 'hang' | 'mute' | 'reset' | 'refuse' | { readonly delay: number }

export interface Target {
  readonly host?: string
  readonly port: number
}

export interface ChaosOptions {
  /** An address of 127.0.0.0/8. */
  readonly host?: string
  /** A free one by default. */
  readonly port?: number
}

export class ChaosProxy {
  readonly host: string
  readonly port: number
  /** Where new connections go. */
  target: Target
  /** Connections taken so far. */
  accepted = 0
  /** Pieces of data that wait just now. */
  held = 0
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #clients = new Set<Socket>()
  #mode: Chaos = 'pass'
  #release = (): void => {}
  #changed = new Promise<void>((resolve) => (this.#release = resolve))

  private constructor(server: Server, target: Target) {
    const { address, port } = server.address() as AddressInfo
    this.host = address
    this.port = port
    this.target = target
    this.#server = server
    server.on('connection', (client: Socket) => this.#take(client))
  }

  static async start(
    t: Owner,
    target: Target,
    { host = '127.0.0.1', port = 0 }: ChaosOptions = {},
  ): Promise<ChaosProxy> {
    const server = createServer({ allowHalfOpen: true })
    await listen(server, port, host)
    const proxy = new ChaosProxy(server, target)
    t.after(() => proxy.become('refuse'))
    return proxy
  }

  /** Resolves when it is so. */
  async become(mode: Chaos): Promise<void> {
    this.#mode = mode
    if (mode === 'reset' || mode === 'refuse') this.cut()
    // Whoever waited looks at the new mode.
    this.#release()
    this.#changed = new Promise((resolve) => (this.#release = resolve))
    if (mode === 'refuse' && this.#server.listening) {
      this.#server.close()
      await once(this.#server, 'close')
    }
    if (mode !== 'refuse' && !this.#server.listening) {
      await listen(this.#server, this.port, this.host)
    }
  }

  /** Resets what is open, and takes more. */
  cut(): void {
    for (const socket of this.#sockets) reset(socket)
  }

  /** Connections that the client has open; the server may have more for a while. */
  get connections(): number {
    return this.#clients.size
  }

  #take(client: Socket): void {
    this.accepted++
    if (this.#mode === 'reset') {
      client.on('error', () => {})
      reset(client)
      return
    }
    this.#clients.add(client)
    for (const event of ['end', 'close']) client.on(event, () => this.#clients.delete(client))
    const { host = '127.0.0.1', port } = this.target
    const server = connect({ host, port, allowHalfOpen: true })
    this.#pipe(client, server, ['hang'])
    this.#pipe(server, client, ['hang', 'mute'])
  }

  #pipe(from: Socket, to: Socket, waitsIn: readonly Chaos[]): void {
    this.#sockets.add(from)
    // In order: each chunk, and the end, after the one before it.
    let last = Promise.resolve()
    const forward = (write: () => void): void => {
      from.pause()
      last = last.then(async () => {
        await this.#passage(waitsIn)
        if (!to.destroyed) write()
        from.resume()
      })
    }
    from.on('data', (chunk: Buffer) => forward(() => to.write(chunk)))
    from.on('end', () => forward(() => to.end()))
    from.on('error', () => reset(to))
    from.on('close', () => {
      this.#sockets.delete(from)
      if (from.errored !== null || !from.readableEnded) to.destroy()
    })
  }

  async #passage(waitsIn: readonly Chaos[]): Promise<void> {
    this.held++
    if (typeof this.#mode === 'object') await sleep(this.#mode.delay, undefined, { ref: false })
    while (waitsIn.includes(this.#mode)) await this.#changed
    this.held--
  }
}

function reset(socket: Socket): void {
  // Node never closes a socket that is reset while it is being shut down, and spins on it when the process ends.
  if (socket.writableEnded) socket.destroy()
  else socket.resetAndDestroy()
}

/** The port stays ours while nobody listens, unless somebody takes it: then that is waited for. */
async function listen(server: Server, port: number, host: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      server.listen(port, host)
      await once(server, 'listening')
      return
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || attempt === 50) throw error
      await sleep(100)
    }
  }
}

/** A host name that this process, and only it, finds at an address, until the test moves it. */
export interface MovingName {
  readonly name: string
  address: string
}

/** @param name one that nobody has, below `.test` */
export function movingName(t: Owner, name: string, address: string): MovingName {
  const moving = { name, address }
  const lookupPromised = dns.promises.lookup
  const lookup = dns.lookup as (...args: unknown[]) => void
  const mocked = mock.method(dns, 'lookup', (...args: unknown[]) => {
    const [host, options] = args
    const done = args.at(-1) as (error: Error | null, ...result: unknown[]) => void
    if (host !== name) return lookup(...args)
    const isList = typeof options === 'object' && options !== null && 'all' in options
    if (isList && options.all === true)
      setImmediate(done, null, [{ address: moving.address, family: 4 }])
    else setImmediate(done, null, moving.address, 4)
  })
  const promised = mock.method(dns.promises, 'lookup', async (...args: unknown[]) =>
    args[0] === name
      ? [{ address: moving.address, family: 4 }]
      : lookupPromised(...(args as [string, object])),
  )
  t.after(() => {
    mocked.mock.restore()
    promised.mock.restore()
  })
  return moving
}
