/** The way from this machine to servers, as clients go it: certificate, API key, clock, rights. */

import {
  type KesClient,
  KesClientError,
  NotAllowedError,
  type SelfInfo,
} from '../../client/index.ts'
import { CommandError } from '../command.ts'
import { type ConnectionOptions, explain, withEveryClient } from '../connect.ts'
import { judgeOf } from '../policy.ts'
import { clockAhead, judgeClock } from './clock.ts'
import { type Finding, fail, ok, warn } from './finding.ts'
import { examineForMinio } from './policies.ts'

/** Milliseconds for each of the calls. */
const PATIENCE = { timeout: 10_000 }

export async function examineConnection(options: ConnectionOptions): Promise<Finding[]> {
  try {
    const findings: Finding[] = []
    if (options.insecure === true)
      findings.push(
        warn(
          'connection',
          'the server’s certificate is not verified: whoever stands between reads every key',
          'leave -k out, and name the certificate, or its CA, with --ca or KES_CA',
        ),
      )
    await withEveryClient(options, async (clients) => {
      const all = await Promise.all(clients.map(examineOne))
      findings.push(...all.flat())
    })
    return findings
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    return [fail('connection', error.message)]
  }
}

async function examineOne(client: KesClient): Promise<Finding[]> {
  const findings: Finding[] = []
  const url = client.endpoints.join()
  try {
    const begin = Date.now()
    const answer = await client.request('GET', '/version', PATIENCE)
    const ahead = clockAhead(String(answer.headers['date']), begin, Date.now())
    const { version } = await client.version(PATIENCE)
    findings.push(ok('connection', `${url} answers, version ${version}`))
    if (ahead !== undefined) findings.push(judgeClock(url, ahead))
    findings.push(...(await examineKeyStoreOf(client, url)))
    findings.push(...examineSelf(await client.describeSelf(PATIENCE), url))
  } catch (error) {
    if (!(error instanceof KesClientError)) throw error
    findings.push(fail('connection', explain(error)))
  }
  return findings
}

/** Nothing where we may not ask. */
async function examineKeyStoreOf(client: KesClient, url: string): Promise<Finding[]> {
  try {
    const { keyStore } = await client.status(PATIENCE)
    return keyStore.isReachable
      ? [ok('keystore', `${url} reaches it`)]
      : [fail('keystore', `${url} does not reach it`, 'see the error log of the server')]
  } catch (error) {
    if (error instanceof NotAllowedError) return []
    throw error
  }
}

function examineSelf(self: SelfInfo, url: string): Finding[] {
  const { identity, policy: name, isAdmin, allow, deny } = self
  if (isAdmin) return [ok('identity', `${identity} is the admin of ${url}`)]
  if (name === undefined)
    return [
      fail(
        'identity',
        `no policy is assigned to ${identity}, so it may do nothing at ${url}`,
        'name it in policy.<name>.identities of the server’s config, or: kes policy assign NAME IDENTITY',
      ),
    ]
  const policy = judgeOf(name, { allow, deny })
  return [ok('identity', `${identity} has the policy '${name}'`), ...examineForMinio(policy)]
}
