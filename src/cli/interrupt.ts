/** Ctrl-C as an ordinary end of what runs for long, or for ever. */

import { constants } from 'node:os'

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/**
 * Runs until the work ends, or until somebody ends it: then the signal that it is given aborts, and the exit code is
 * what shells expect of it (130 for Ctrl-C). A second time it is ended at once.
 */
export async function untilInterrupted(
  work: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const controller = new AbortController()
  let code = 0
  const stop = (name: NodeJS.Signals): void => {
    for (const each of SIGNALS) process.off(each, stop)
    code = 128 + constants.signals[name]
    controller.abort()
  }
  for (const each of SIGNALS) process.on(each, stop)
  try {
    await work(controller.signal)
  } catch (error) {
    if (!controller.signal.aborted) throw error
  } finally {
    for (const each of SIGNALS) process.off(each, stop)
  }
  if (code > 0) process.exitCode = code
}
