#!/usr/bin/env node
/** The `kes` command: arguments in, exit code out. */

import { run } from './cli/program.ts'

process.exitCode = await run(process.argv.slice(2))
