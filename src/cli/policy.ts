/** `kes policy info|show|explain`. */

import { ROUTES } from '../api/index.ts'
import { questionOf, type Route } from '../api/route.ts'
import { checkMethod, Router } from '../api/router.ts'
import { hint } from '../auth/access.ts'
import { Policy, type PolicyRules, readsTwoWays } from '../auth/policy.ts'
import { IdentityNotFoundError, type KesClient, type PolicyDialect } from '../client/index.ts'
import type { Identity } from '../crypto/identity.ts'
import { KesError } from '../errors.ts'
import { now } from '../time.ts'
import { checkIdentity } from './access-change.ts'
import { UsageError } from './command.ts'
import { attempt, type ConnectionOptions, withClient } from './connect.ts'
import { painter, print, printFields, printJson, quoted, say } from './output.ts'

export async function info(name: string, options: ConnectionOptions): Promise<void> {
  const policy = await withClient(options, (client) =>
    attempt(`describe policy ${quoted(name)}`, client.describePolicy(name)),
  )
  const { createdAt, createdBy } = policy
  if (options.json === true)
    return printJson({ name: policy.name, created_at: createdAt, created_by: createdBy })
  printFields({ Name: policy.name, 'Created at': createdAt, 'Created by': createdBy }, options)
}

export async function show(name: string, options: ConnectionOptions): Promise<void> {
  const policy = await withClient(options, (client) =>
    attempt(`read policy ${quoted(name)}`, client.readPolicy(name)),
  )
  const { allow, deny, dialect, createdAt, createdBy } = policy
  const isCurrent = dialect === 'current'
  for (const rule of isCurrent ? [] : [...allow, ...deny].filter(readsTwoWays))
    say(`Warning: the rule "${rule}" means something else in the dialect current.`)
  if (options.json === true) {
    return printJson({
      name: policy.name,
      allow: ruleSet(allow),
      deny: ruleSet(deny),
      ...(!isCurrent && { dialect: dialect ?? null }),
      created_at: createdAt,
      created_by: createdBy,
    })
  }
  printFields(
    {
      Name: policy.name,
      Allow: allow,
      Deny: deny,
      Dialect: isCurrent ? undefined : (dialect ?? 'not told by the server'),
      'Created at': createdAt,
      'Created by': createdBy,
    },
    options,
  )
}

/** A policy only to hear its verdicts. @param language of its rules */
export function judgeOf(
  name: string,
  rules: PolicyRules,
  language: PolicyDialect = 'current',
): Policy {
  return new Policy(name, rules, { createdAt: now(), createdBy: '', language })
}

/** As the API has it. */
export function ruleSet(rules: readonly string[]): object {
  return Object.fromEntries(rules.map((rule) => [rule, {}]))
}

interface Explanation {
  readonly allowed: boolean
  readonly policy: string | null
  /** That decides. */
  readonly rule: string | null
  /** What the policy is written in; null where no policy decides, or the server does not tell. */
  readonly dialect?: PolicyDialect | null
  /** For people. */
  readonly why: string
}

/** Exit code 1 where the answer is no. */
export async function explain(
  who: string,
  method: string,
  path: string,
  options: ConnectionOptions,
): Promise<void> {
  const identity = checkIdentity(who)
  const { route, param } = findRoute(method.toUpperCase(), path)
  const verdict = await withClient(options, (client) => judge(client, identity, route, path, param))
  if (options.json === true) {
    printJson({ identity, method: method.toUpperCase(), path, ...verdict })
  } else {
    const paint = painter(options)
    const word = verdict.allowed ? paint('green', 'allowed') : paint('red', 'refused')
    print(`${word}: ${verdict.why}`)
  }
  if (!verdict.allowed) process.exitCode = 1
}

/** @throws UsageError where there is no such API */
export function findRoute(method: string, path: string): { route: Route; param: string } {
  const router = new Router(ROUTES.map((route) => ({ route, skipAuth: false, timeout: 0 })))
  const match = router.find(path)
  if (match === undefined) {
    const better = router.lacksSlash(path) ? `; did you mean ${path}/?` : ''
    throw new UsageError(`there is no API ${path}${better}`)
  }
  const { route } = match.served
  try {
    checkMethod(route, method, 'current')
  } catch (error) {
    if (!(error instanceof KesError)) throw error
    throw new UsageError(`the API ${route.path} takes ${route.method}, not ${method}`)
  }
  return { route, param: match.param }
}

async function judge(
  client: KesClient,
  identity: Identity,
  route: Route,
  path: string,
  param: string,
): Promise<Explanation> {
  if (route.access === 'anyone')
    return { allowed: true, policy: null, rule: null, why: 'every client may call this API' }
  const { isAdmin, policy: name } = await attempt(
    `describe identity ${identity}`,
    describe(client, identity),
  )
  if (isAdmin)
    return { allowed: true, policy: null, rule: null, why: 'the admin may call every API' }
  if (route.access === 'admin')
    return { allowed: false, policy: null, rule: null, why: 'only the admin may do this' }
  const question = questionOf(route, path, param)
  if (name === undefined)
    return { allowed: false, policy: null, rule: null, why: hint(undefined, undefined, path) }
  const { allow, deny, dialect } = await attempt(
    `read policy ${quoted(name)}`,
    client.readPolicy(name),
  )
  const inLanguage = (language: PolicyDialect): Policy => judgeOf(name, { allow, deny }, language)
  const policy = inLanguage(dialect ?? 'current')
  const { allowed, rule } = policy.explain(question)
  if (dialect === undefined && inLanguage('v0.18').judge(question).allowed !== allowed)
    say(
      `Note: the server does not tell the dialect of policy '${name}'; if it is v0.18 or v0.7, it is the other way round.`,
    )
  else if (dialect !== undefined && dialect !== 'current')
    say(`Note: policy '${name}' has the dialect ${dialect}: a * stands for any text without /.`)
  return {
    allowed,
    policy: name,
    rule: rule ?? null,
    dialect: dialect ?? null,
    why: allowed ? `by the rule "${rule}" of policy '${name}'` : hint(policy, rule, question.path),
  }
}

/** Of an identity that has no policy the server says that it does not exist. */
async function describe(
  client: KesClient,
  identity: Identity,
): Promise<{ isAdmin: boolean; policy: string | undefined }> {
  try {
    return await client.describeIdentity(identity)
  } catch (error) {
    if (error instanceof IdentityNotFoundError) return { isAdmin: false, policy: undefined }
    throw error
  }
}
