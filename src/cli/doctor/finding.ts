/** What `kes doctor` has found: what is well, what is not, and how to mend it. */

export interface Finding {
  readonly level: 'ok' | 'warn' | 'fail'
  /** A field of the config, or a part of the server. */
  readonly about: string
  readonly what: string
  /** Absent where nothing is to be done, or `what` says it. */
  readonly mend?: string
}

export function ok(about: string, what: string): Finding {
  return { level: 'ok', about, what }
}

export function warn(about: string, what: string, mend?: string): Finding {
  return finding('warn', about, what, mend)
}

export function fail(about: string, what: string, mend?: string): Finding {
  return finding('fail', about, what, mend)
}

function finding(level: Finding['level'], about: string, what: string, mend?: string): Finding {
  return { level, about, what, ...(mend !== undefined && { mend }) }
}
