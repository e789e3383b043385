/** Preloaded into a server (`--import`): with SIGUSR2 an hour has passed, for whatever is done every hour. */

const HOUR = 3_600_000

globalThis.setInterval = new Proxy(setInterval, {
  apply(target, self, args: Parameters<typeof setInterval>) {
    const [act, delay] = args
    if (delay === HOUR) process.on('SIGUSR2', act)
    return Reflect.apply(target, self, args)
  },
})
