/** How long a piece of work may take, and who gives up on it. */

/** `signal` is made when it is first asked for: work that ends at once never pays for it. */
export interface Deadline {
  readonly signal: AbortSignal
}

/**
 * The outcome of `work`, or the signal's reason if it aborts first. The work itself goes on: use this for work
 * that cannot be stopped, or that others wait for, too.
 */
export async function within<T>(work: Promise<T>, { signal }: Deadline): Promise<T> {
  if (signal.aborted) {
    work.catch(() => {}) // nobody will look at it any more
    throw signal.reason as Error
  }
  let abort: (() => void) | undefined
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(signal.reason as Error)
    signal.addEventListener('abort', abort, { once: true })
  })
  try {
    return await Promise.race([work, aborted])
  } finally {
    if (abort !== undefined) signal.removeEventListener('abort', abort)
  }
}

/**
 * As `within`, for work whose outcome is to be closed or given back: when it comes too late, `drop` does that, and must
 * not fail.
 */
export async function withinOrDrop<T>(
  work: Promise<T>,
  deadline: Deadline,
  drop: (late: T) => unknown,
): Promise<T> {
  try {
    return await within(work, deadline)
  } catch (error) {
    work.then(drop, () => {}) // what failed too late, nobody asks for
    throw error
  }
}
