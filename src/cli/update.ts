/** `kes update`: npm does it; this says how. */

import { VERSION } from '../version.ts'
import { type OutputOptions, print, printJson } from './output.ts'

const INSTALL = 'npm install -g openkes@latest'

export async function update({ json }: OutputOptions): Promise<void> {
  if (json === true) return printJson({ version: VERSION, command: INSTALL })
  print(`This is kes ${VERSION}. The newest release, and how to install it:

  npm view openkes version
  ${INSTALL}

A running server goes on with its old release until it is restarted.`)
}
