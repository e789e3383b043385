/** What the config file says of a backend: the body of a configure, which nobody has sent. */

import { KesError } from '../../errors.ts'
import type { Secret } from '../../fields.ts'
import { JsonError } from '../../json.ts'
import { parseStrict, StrictFields } from '../../strict-json.ts'
import { configurationOfFile } from './configuration.ts'
import { type Document, readDocument } from './document.ts'

/** @throws JsonError */
export function startDocument(start: Secret): Document {
  return readDocument(new StrictFields(parseStrict(Buffer.from(start.reveal()))))
}

/** What is wrong with it. */
export function startFault(start: Secret): string | undefined {
  try {
    configurationOfFile(startDocument(start))
    return undefined
  } catch (error) {
    if (error instanceof JsonError || error instanceof KesError) return error.message
    throw error
  }
}
