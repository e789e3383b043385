/** One TLS connection of a client: who it is, and what runs on it. */

import type { Peer } from '../auth/peer.ts'
import type { Follower } from '../telemetry/stream.ts'

export class Connection {
  /** Without port. */
  readonly ip: string
  /** Undefined without a certificate, or with one that is no client's. */
  readonly peer: Peer | undefined
  /** Requests that have begun and not ended. */
  active = 0
  /** Logs that are followed here. They count as active, but nobody waits for their end. */
  readonly followers = new Set<Follower>()
  #close: () => void
  #refuse = (): void => {}
  #isDraining = false
  #isClosing = false

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

  /** How the protocol tells the client at once that no further request is served here. */
  onDrain(refuse: () => void): void {
    this.#refuse = refuse
  }

  /** Ends the connection as soon as no request runs on it; what the client still sends is not served. */
  drain(): void {
    if (this.#isDraining) return
    this.#isDraining = true
    this.#refuse()
    for (const follower of this.followers) follower.end()
    this.#closeIfDone()
  }

  /** To be called when a request has ended. */
  release(): void {
    this.active--
    this.#closeIfDone()
  }

  #closeIfDone(): void {
    if (!this.#isDraining || this.#isClosing || this.active > this.followers.size) return
    this.#isClosing = true
    this.#close()
  }
}
