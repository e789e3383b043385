/** Something that ends at a time of the wall clock, which may be years away. */

/** No timer is as long as a certificate may last, and the clock may be set meanwhile. */
const LOOK_AGAIN = 3_600_000
const SECOND = 1000

/** Calls `act` once `time`, in milliseconds since 1970, has passed. @returns forgets about it */
export function whenPast(time: number, act: () => void): () => void {
  let timer: NodeJS.Timeout
  const wait = (): void => {
    const look = (): void => (Date.now() > time ? act() : wait())
    const rest = time + 1 - Date.now()
    // Node keeps something of each different delay until it is over: every connection would have one of its own.
    const whole = rest > SECOND ? rest - (rest % SECOND) : rest
    timer = setTimeout(look, Math.min(whole, LOOK_AGAIN)).unref()
  }
  wait()
  return () => clearTimeout(timer)
}
