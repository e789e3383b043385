/** Whether a server runs where the config says, and whether it is the one that the config describes. */

import { X509Certificate } from 'node:crypto'
import { connect, type PeerCertificate, type TLSSocket } from 'node:tls'

import { ApiKey, KesClient, KesClientError } from '../../client/index.ts'
import type { Config } from '../../config/config.ts'
import { readPem } from '../../pem.ts'
import { inUrl, isEverywhere } from '../host.ts'
import { type Finding, fail, ok, warn } from './finding.ts'

const LIMIT = 5000

/** @param start the command that starts it */
export async function examineServer(
  { address: { host, port }, tls }: Pick<Config, 'address' | 'tls'>,
  start: string,
): Promise<Finding[]> {
  const about = 'server'
  if (port === 0) return [ok(about, 'listens on a port that is chosen at its start')]
  const name = isEverywhere(host) ? (host === '::' ? '::1' : '127.0.0.1') : host
  const url = `https://${inUrl(name)}:${port}`
  const shown = await certificateAt(name, port)
  if (shown === 'nobody')
    return [warn(about, `nobody listens at ${url}`, `start the server: ${start}`)]
  if ('trouble' in shown) {
    const what = `what listens at ${url} speaks no TLS as a KES server does: ${shown.trouble}`
    return [fail(about, what, 'is the port another program’s? Choose another one in address')]
  }
  const ours = new X509Certificate(readPem(tls.cert, 'tls.cert'))
  const findings: Finding[] = []
  if (ours.fingerprint256 !== shown.fingerprint256)
    findings.push(
      warn(
        about,
        `the server at ${url} shows another certificate than the one in tls.cert`,
        'is it the server of this config? If it is, it takes a changed file within seconds, or says in its error log why not',
      ),
    )
  // Without a certificate of a CA nobody is answered there; whoever has one passes --server.
  return [...findings, ...(tls.auth ? [ok(about, `listens at ${url}`)] : [await ask(url)])]
}

type Shown = Pick<PeerCertificate, 'fingerprint256'> | { readonly trouble: string } | 'nobody'

function certificateAt(host: string, port: number): Promise<Shown> {
  return new Promise((resolve) => {
    // Which certificate it is, is what we want to know.
    const socket: TLSSocket = connect({ host, port, rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate())
      socket.destroy()
    })
    socket.setTimeout(LIMIT, () => {
      resolve({ trouble: `no answer within ${LIMIT / 1000} s` })
      socket.destroy()
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      resolve(error.code === 'ECONNREFUSED' ? 'nobody' : { trouble: error.message })
    })
    socket.on('close', () => resolve({ trouble: 'the connection was closed' }))
  })
}

/** Everybody may ask for the version: also with an API key that was made for this one question. */
async function ask(url: string): Promise<Finding> {
  const options = { endpoints: url, apiKey: ApiKey.generate(), insecure: true, timeout: LIMIT }
  const client = new KesClient(options)
  try {
    const { version } = await client.version()
    return ok('server', `version ${version} runs at ${url}`)
  } catch (error) {
    if (!(error instanceof KesClientError)) throw error
    return fail('server', error.message, 'see its error log')
  } finally {
    await client.close()
  }
}
