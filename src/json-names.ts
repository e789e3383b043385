/**
 * The names of a JSON object's fields as its text has them: all of them, in their order. JSON.parse gives a name that comes
 * twice its first place and its last value, so that what it returns does not say which of two names came last.
 * For texts that JSON.parse has read already; nothing is checked here.
 */

/** Index behind a string literal that begins at `at`, or beyond the text when it does not end. */
export function endOfString(text: string, at: number): number {
  let end = at + 1
  while (end < text.length && text[end] !== '"') end += text[end] === '\\' ? 2 : 1
  return end + 1
}

/** Of the first value of a text: of an object its names; of a list those of each item, none for what is no object. */
export function namesByObject(text: string): string[][] {
  const names: string[][] = [[]]
  let depth = 0
  /** Where names are looked for: in the value itself, or in the items of a list. */
  let level = 1
  for (let at = 0; at < text.length; at++) {
    const char = text[at]
    if (char === '"') {
      const end = endOfString(text, at)
      if (depth === level && isName(text, end)) {
        names.at(-1)?.push(JSON.parse(text.slice(at, end)) as string)
      }
      at = end - 1
    } else if (char === '{' || char === '[') {
      if (depth === 0 && char === '[') level = 2
      depth++
    } else if (char === '}' || char === ']') {
      depth--
      if (depth === 0) return names
    } else if (char === ',' && depth === 1 && level === 2) names.push([])
  }
  return names
}

/** Whether a colon follows. */
function isName(text: string, end: number): boolean {
  let at = end
  while (/[ \t\r\n]/.test(text.charAt(at))) at++
  return text[at] === ':'
}
