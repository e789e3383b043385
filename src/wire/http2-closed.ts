/**
 * The streams of an HTTP/2 connection that have ended, as far as it matters: what still comes for one that we have
 * reset was sent before the client knew, and is let pass; the client's own ends bind it (RFC 9113, 5.1).
 */

/** A power of two. */
const REMEMBERED = 512

export class ClosedStreams {
  /** Negative: reset by us. */
  readonly #ids = new Int32Array(REMEMBERED)
  #next = 0

  add(id: number, byUs: boolean): void {
    this.#ids[this.#next++ & (REMEMBERED - 1)] = byUs ? -id : id
  }

  has(id: number): boolean {
    return this.#ids.includes(id)
  }

  wasResetByUs(id: number): boolean {
    return this.#ids.includes(-id)
  }
}
