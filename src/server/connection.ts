/** One TLS connection of a client: who it is, and what runs on it. */

import type { Peer } from '../auth/peer.ts'

export class Connection {
  /** Without port. */
  readonly ip: string
  /** Undefined without a certificate, or with one that is no client's. */
  readonly peer: Peer | undefined
  /** Requests that have begun and not ended. */
  active = 0
  #close: () => void
  #isDraining = false

  /** @param close lets what is being sent arrive, and then ends the connection. */
  constructor(ip: string, peer: Peer | undefined, close: () => void) {
    this.ip = ip
    this.peer = peer
    this.#close = close
  }

  /** No further request may begin here. */
  get isDraining(): boolean {
    return this.#isDraining
  }

  /** A gentler way to end it than the constructor's, once the protocol is known. */
  onClose(close: () => void): void {
    this.#close = close
  }

  /** Ends the connection as soon as nothing runs on it. */
  drain(): void {
    this.#isDraining = true
    if (this.active === 0) this.#close()
  }

  /** To be called when a request has ended. */
  release(): void {
    this.active--
    if (this.#isDraining && this.active === 0) this.#close()
  }
}
