/** Words for a POSIX shell, for lines that people copy and scripts that we write. */

export function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}

/** The word itself where it needs no quotes. */
export function shellWord(text: string): string {
  return /^[\w@%+:,./-]+$/.test(text) ? text : quote(text)
}
