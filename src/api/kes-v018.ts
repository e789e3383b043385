/**
 * What generation v0.18 of the KES API does differently from the current one (kes-dialects.md, "Shapes that differ"):
 * listings are ndjson, whole, by patterns of path.Match; rules are lists; metrics have no status codes.
 */

import { Glob } from '../auth/glob.ts'
import type { PolicyRules } from '../auth/policy.ts'
import type { Identity } from '../crypto/identity.ts'
import { KesError } from '../errors.ts'
import { stringify } from '../json.ts'
import type { KeyService } from '../keys/service.ts'
import { rfc3339 } from '../time.ts'
import { describeCaller, origin, policyNamed } from './kes/access.ts'
import { scrape } from './kes/system.ts'
import { type Call, type Difference, json, type Operation, type Reply } from './route.ts'

export type Differences = Readonly<Partial<Record<Operation, Difference>>>

export const V018: Differences = {
  metrics: { handle: (call) => scrape(call, { plain: 'sums', full: 'full-sums' }) },
  'key:list': {
    byAccept: true,
    handle: (call) => listKeys(call, (name) => describeKey(call.realm.keys, name)),
  },
  'policy:list': {
    byAccept: true,
    handle(call) {
      const { access } = call.realm
      const names = matching(call, access.policyNames)
      return ndjson(lines(names, (name) => ({ name, ...made(access.policy(name)) })))
    },
  },
  'identity:list': {
    byAccept: true,
    handle(call) {
      const { access } = call.realm
      const describe = (identity: string): object => {
        if (identity === access.admin) return { policy: '', created_at: rfc3339(access.createdAt) }
        const assignment = access.assignment(identity as Identity)
        return { policy: assignment?.policy ?? '', ...made(assignment) }
      }
      const identities = matching(call, access.identities)
      return ndjson(lines(identities, (identity) => ({ identity, ...describe(identity) })))
    },
  },
  'policy:read': {
    handle: (call) => json(stringify(ruleLists(policyNamed(call).rules))),
  },
  'identity:self-describe': {
    handle(call) {
      const { fields, policy } = describeCaller(call)
      const rules = policy === undefined ? {} : ruleLists(policy.rules)
      return json(stringify({ identity: call.caller, ...fields, policy: rules }))
    },
  },
}

/** Keys that are read at the same time for one listing. */
const AT_ONCE = 16
/** Milliseconds for one page of names, or for one key. */
const STEP_LIMIT = 10_000

/**
 * Every key whose name matches the pattern, a line each, in as little memory as one page of names takes.
 *
 * @param describe the line of a name
 */
export async function listKeys(
  call: Call,
  describe: (name: string) => Promise<object>,
): Promise<Reply> {
  const { keys } = call.realm
  const { glob, prefix } = pattern(call)
  // The first page decides whether it can be answered at all.
  let page = await keys.list({ prefix, from: prefix }, call)
  return ndjson(
    (async function* () {
      for (;;) {
        const names = page.names.filter((name) => glob.matches(name))
        for (let at = 0; at < names.length; at += AT_ONCE) {
          const described = await Promise.all(names.slice(at, at + AT_ONCE).map(describe))
          yield described.map((entry) => `${stringify(entry)}\n`).join('')
        }
        if (page.next === undefined) return
        const signal = AbortSignal.timeout(STEP_LIMIT)
        page = await keys.list({ prefix, from: page.next }, { signal })
      }
    })(),
  )
}

/** One key that cannot be read does not end the listing. */
async function describeKey(keys: KeyService, name: string): Promise<object> {
  try {
    const key = await keys.peek(name, { signal: AbortSignal.timeout(STEP_LIMIT) })
    return { name, created_at: rfc3339(key.createdAt), created_by: key.createdBy || undefined }
  } catch (error) {
    return { name, error: KesError.from(error).message }
  }
}

/** The names that the request's pattern matches, sorted. */
export function matching(call: Call, names: readonly string[]): string[] {
  const { glob } = pattern(call)
  return names.filter((name) => glob.matches(name)).sort()
}

/** The request's pattern, and what every match begins with. @throws KesError BAD_NAME */
function pattern({ param }: Call): { readonly glob: Glob; readonly prefix: string } {
  const glob = param.length <= MAX_PATTERN ? Glob.parse(param === '' ? '*' : param) : undefined
  if (glob !== undefined && !param.includes('~')) {
    return { glob, prefix: /^[0-9A-Za-z_-]*/.exec(param)?.[0] ?? '' }
  }
  throw new KesError('BAD_NAME', {
    message: `listing pattern '${param}' is empty, too long or is invalid`,
  })
}

const MAX_PATTERN = 256

/** What the page of a listing has for one name. */
function* lines(names: readonly string[], describe: (name: string) => object): Generator<string> {
  for (const name of names) yield `${stringify(describe(name))}\n`
}

function ndjson(parts: AsyncIterable<string> | Iterable<string>): Reply {
  const lines = Symbol.asyncIterator in parts ? parts : asynchronous(parts)
  // Asked for with Accept, the same path has another form.
  return { status: 200, type: 'application/x-ndjson', headers: { vary: 'Accept' }, lines }
}

async function* asynchronous(parts: Iterable<string>): AsyncGenerator<string> {
  yield* parts
}

function ruleLists({ allow, deny }: PolicyRules): object {
  return {
    allow: allow.length > 0 ? allow : undefined,
    deny: deny.length > 0 ? deny : undefined,
  }
}

function made(what: Parameters<typeof origin>[0] | undefined): object | undefined {
  return what && origin(what)
}
