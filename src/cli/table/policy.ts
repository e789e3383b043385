/** The commands about policies, and the listing of everything that has a name. */

import type { ArgumentSpec, CommandSpec } from '../command.ts'
import { clientCommand, UNTIL_RESTART } from '../options.ts'

const NAME: ArgumentSpec = { name: '<name>', help: 'name of the policy' }

export const POLICY_COMMANDS: readonly CommandSpec[] = [
  clientCommand({
    name: 'policy info',
    summary: 'Show when and by whom a policy was made.',
    args: [NAME],
    examples: ['kes policy info my-policy'],
    run: async ([name = ''], options) => (await import('../policy.ts')).info(name, options),
  }),
  clientCommand({
    name: 'policy show',
    summary: 'Show the rules of a policy.',
    args: [NAME],
    examples: ['kes policy show my-policy', 'kes policy show my-policy --json'],
    run: async ([name = ''], options) => (await import('../policy.ts')).show(name, options),
  }),
  clientCommand({
    name: 'policy ls',
    summary: 'List policies by name.',
    args: [{ name: '[pattern]', help: 'how their names begin: my-app or my-app*' }],
    examples: ['kes policy ls', "kes policy ls 'my-app*'"],
    run: async ([pattern], options) =>
      (await import('../list.ts')).list('policies', pattern, options),
  }),
  clientCommand({
    name: 'policy create',
    summary: 'Make a policy, or replace its rules.',
    detail:
      'The file has the lists allow and deny, in YAML or JSON: as in a config file, or as kes policy show --json ' +
      'prints them. The identities that it names get the policy, too. ' +
      UNTIL_RESTART,
    args: [
      NAME,
      { name: '<file>', help: 'path of the file; - reads standard input', completes: 'file' },
    ],
    examples: [
      'kes policy create my-policy policy.yml',
      'kes policy show my-policy --json | kes policy create my-copy -',
    ],
    run: async ([name = '', file = ''], options) =>
      (await import('../access-change.ts')).create(name, file, options),
  }),
  clientCommand({
    name: 'policy assign',
    summary: 'Give an identity a policy, instead of the one that it has.',
    detail: UNTIL_RESTART,
    args: [NAME, { name: '<identity>', help: '64 hex digits' }],
    examples: ['kes policy assign my-policy "$(kes identity of client.cert)"'],
    run: async ([name = '', identity = ''], options) =>
      (await import('../access-change.ts')).assign(name, identity, options),
  }),
  clientCommand({
    name: 'policy rm',
    summary: 'Delete policies.',
    detail:
      'Whoever has one of them may do nothing from then on. Of several it tries every one. ' +
      UNTIL_RESTART,
    args: [{ name: '<name...>', help: 'names of policies' }],
    examples: ['kes policy rm my-policy'],
    run: async (names, options) =>
      (await import('../access-change.ts')).removePolicies(names, options),
  }),
  clientCommand({
    name: 'policy explain',
    summary: 'Say whether an identity may call an API, and which rule decides.',
    detail: 'If it may not, it says which rule to add. The exit code is 0 if it may, 1 if not.',
    args: [
      { name: '<identity>', help: '64 hex digits' },
      { name: '<method>', help: 'GET, PUT, POST or DELETE' },
      { name: '<path>', help: 'e.g. /v1/key/create/my-key' },
    ],
    examples: ['kes policy explain "$(kes identity of client.cert)" PUT /v1/key/create/my-key'],
    run: async ([identity = '', method = '', path = ''], options) =>
      (await import('../policy.ts')).explain(identity, method, path, options),
  }),
]

export const LIST_COMMAND: CommandSpec = clientCommand({
  name: 'ls',
  summary: 'List keys, identities or policies.',
  args: [{ name: '[prefix]', help: 'how their names begin' }],
  options: [
    { flags: '-i, --identities', help: 'list identities' },
    { flags: '-p, --policies', help: 'list policies' },
  ],
  examples: ['kes ls my-app-', 'kes ls -p'],
  run: async ([prefix], options) => (await import('../list.ts')).listAny(prefix, options),
})
