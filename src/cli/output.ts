/** What a command writes: results to standard output, everything else to standard error. */

/** What `OUTPUT` (options.ts) gives to every command. */
export interface OutputOptions {
  readonly json?: boolean
  readonly color?: 'auto' | 'never' | 'always'
}

let isGuarded = false

/** Text as it is to standard output. */
export function write(text: string): void {
  if (!isGuarded) {
    isGuarded = true
    process.stdout.on('error', ({ code, message }: NodeJS.ErrnoException) => {
      // The reader has seen enough (`kes key ls | head -1`).
      if (code === 'EPIPE') process.exit()
      say(`Error: standard output cannot be written: ${message}`)
      process.exit(1)
    })
  }
  process.stdout.write(text)
}

/** One result, with a line break behind it. */
export function print(text: string): void {
  write(`${text}\n`)
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value))
}

/** What a thing is made of, one field or value per line; fields without a value are left out. */
export function printFields(
  fields: Readonly<Record<string, string | Date | readonly string[] | undefined>>,
  options: OutputOptions,
): void {
  const paint = painter(options)
  const rows = Object.entries(fields).map(
    ([name, value]) =>
      [name, [value instanceof Date ? value.toISOString() : (value ?? [])].flat()] as const,
  )
  const names = rows.filter(([, lines]) => lines.length > 0).map(([name]) => name.length)
  const width = Math.max(...names) + 2
  for (const [name, lines] of rows) {
    for (const [index, line] of lines.entries())
      print(`${paint('bold', (index === 0 ? name : '').padEnd(width))}${line}`)
  }
}

/** A name in a message. */
export function quoted(name: string): string {
  return JSON.stringify(name)
}

/** A message for the person at the terminal. */
export function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

const STYLES = { bold: 1, red: 31, green: 32, yellow: 33 } as const

export type Paint = (style: keyof typeof STYLES, text: string) => string

/** Colors for one stream; the text itself where there are to be none. */
export function painter(
  { color = 'auto' }: OutputOptions,
  stream: NodeJS.WriteStream = process.stdout,
): Paint {
  const { NO_COLOR = '', TERM } = process.env
  const isWanted =
    color === 'auto' ? stream.isTTY && NO_COLOR === '' && TERM !== 'dumb' : color === 'always'
  return isWanted ? (style, text) => `\u001b[${STYLES[style]}m${text}\u001b[0m` : (_, text) => text
}
