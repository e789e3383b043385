/** The `kes` command: arguments in, exit code out. What starts it is main.ts. */

import { run } from './cli/program.ts'

// The bundle is a script: it cannot await here. `run` never rejects.
void run(process.argv.slice(2)).then((code) => {
  process.exitCode = code
})
