/** Every command, in the order of the help. */

import type { CommandSpec } from './command.ts'
import { IDENTITY_COMMANDS } from './table/identity.ts'
import { KEY_COMMANDS } from './table/key.ts'
import { LIST_COMMAND, POLICY_COMMANDS } from './table/policy.ts'
import { SELF_COMMANDS } from './table/self.ts'
import { SERVER_COMMANDS } from './table/server.ts'
import { WATCH_COMMANDS } from './table/watch.ts'

export const COMMANDS: readonly CommandSpec[] = [
  ...SERVER_COMMANDS,
  ...KEY_COMMANDS,
  ...POLICY_COMMANDS,
  ...IDENTITY_COMMANDS,
  LIST_COMMAND,
  ...WATCH_COMMANDS,
  ...SELF_COMMANDS,
]

/** What the commands of two words have in common, by their first word. */
export const GROUPS: Readonly<Record<string, string>> = {
  config: 'Look at config files.',
  key: 'Create, use, change and delete keys.',
  policy: 'Look at policies and at what they decide, and change them.',
  identity: 'Make identities, look at them, take their policies away.',
}

/** Other words for the first words of a command line. They are not in the help. */
export const ALIASES: Readonly<Record<string, string>> = {
  'tool identity': 'identity',
  '--auto-completion': 'completion',
}
