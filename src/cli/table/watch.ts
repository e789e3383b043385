/** The commands that look at running servers. */

import type { CommandSpec } from '../command.ts'
import { clientCommand } from '../options.ts'

export const WATCH_COMMANDS: readonly CommandSpec[] = [
  clientCommand({
    name: 'status',
    summary: 'Show how servers are.',
    detail:
      'Of several servers each is asked, all at the same time. The exit code is 1 unless every one answers and ' +
      'reaches its keystore.',
    options: [
      { flags: '-s, --short', help: 'one line per server' },
      { flags: '--api', help: 'also list the APIs that it serves' },
    ],
    examples: [
      'kes status',
      'kes status --short --server kes-0:7373,kes-1:7373',
      'kes status --json | jq .keystore',
    ],
    run: async (_, options) => (await import('../status.ts')).status(options),
  }),
  clientCommand({
    name: 'log',
    summary: 'Follow a log of the server until Ctrl-C.',
    detail:
      'In a terminal the audit log is a table; in a pipe its fields are whole and separated by tabs: time, status, ' +
      'address, identity, path, duration. When the connection breaks it connects again; what happened in between is ' +
      'not seen.',
    options: [
      { flags: '--audit', help: 'follow what is asked of the server (default)' },
      { flags: '--error', help: 'follow what fails in the server' },
    ],
    examples: [
      'kes log',
      'kes log --error',
      "kes log --json | jq -r 'select(.response.code >= 400) | .request.path'",
    ],
    run: async (_, options) => (await import('../log.ts')).follow(options),
  }),
  clientCommand({
    name: 'metric',
    summary: 'Watch what the server does until Ctrl-C.',
    detail:
      'Requests, errors and failures per second, latency percentiles, memory and keystore: in a terminal as a live ' +
      'view, elsewhere as one JSON object per look. It goes on when the server restarts.',
    options: [
      { flags: '--rate <duration>', help: 'how often to look, from 100ms on (default: 5s)' },
    ],
    examples: ['kes metric', 'kes metric --rate 1s --json | jq .requests_per_second'],
    run: async (_, options) => (await import('../metric.ts')).metric(options),
  }),
]
