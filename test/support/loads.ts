/** Preloaded, it writes the name of each package that the process loads to the file KES_TEST_LOADS, a line each. */

import { appendFileSync } from 'node:fs'
import Module, { register } from 'node:module'

const file = process.env['KES_TEST_LOADS'] ?? ''

// import: in a thread of its own, so as text.
const hook = `
  import { appendFileSync } from 'node:fs'
  export async function resolve(specifier, context, next) {
    const resolved = await next(specifier, context)
    appendFileSync(${JSON.stringify(file)}, resolved.url + '\\n')
    return resolved
  }`
register(`data:text/javascript,${encodeURIComponent(hook)}`)

// require()
const commonJs = Module as unknown as { _load(request: string, ...more: unknown[]): unknown }
const load = commonJs._load
commonJs._load = function (request, ...more) {
  appendFileSync(file, `${request}\n`)
  return load.call(this, request, ...more)
}
