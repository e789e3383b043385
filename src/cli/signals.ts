/** How a person, or the system, asks a command that runs for long to end. */

export type StopSignal = 'SIGTERM' | 'SIGINT'

const STOP_SIGNALS: readonly StopSignal[] = ['SIGTERM', 'SIGINT']

/** Resolves at the first SIGTERM or SIGINT; a second one ends the process at once. */
export async function stopSignal(): Promise<StopSignal> {
  return new Promise((resolve) => {
    const stop = (name: StopSignal): void => {
      for (const signal of STOP_SIGNALS) process.off(signal, stop)
      resolve(name)
    }
    for (const signal of STOP_SIGNALS) process.on(signal, stop)
  })
}
