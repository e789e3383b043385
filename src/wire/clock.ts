/** One timer for the time limits of all connections: a timer for each would cost more than most requests do. */

const RESOLUTION = 500

export interface Ticking {
  /** @param now by `performance.now()` */
  tick(now: number): void
}

const watched = new Set<Ticking>()
let timer: NodeJS.Timeout | undefined
let coarse = 0

/** `performance.now()`, or what it was at most RESOLUTION ago: nobody asks the system's clock for each request. */
export function coarseNow(): number {
  return timer === undefined ? performance.now() : coarse
}

export function watch(one: Ticking): void {
  watched.add(one)
  if (timer !== undefined) return
  coarse = performance.now()
  timer = setInterval(tick, RESOLUTION).unref()
}

export function unwatch(one: Ticking): void {
  watched.delete(one)
}

function tick(): void {
  coarse = performance.now()
  // Not as soon as it is: connections that come one at a time would make a timer each.
  if (watched.size === 0) {
    clearInterval(timer)
    timer = undefined
  }
  for (const one of watched) one.tick(coarse)
}
