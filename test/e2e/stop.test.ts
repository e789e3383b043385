/** Who connects while a server of several processes stops. */

import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as tlsConnect, type TLSSocket } from 'node:tls'

import { eventually, serverFiles, startServerProcess } from '../support/process.ts'

/** Connections, one every few milliseconds, from before the stop until well into it. */
const CALLERS = 400

test('whoever connects to several processes while they stop is turned away at once, and who has begun is served', async (t) => {
  const files = await serverFiles(t, { config: 'keys: [ { name: a } ]' })
  const server = await startServerProcess(t, ['--config', files.config, '--workers', '2'])
  const begun = await beginRequest(t, server.port, files.admin)
  let open = 0
  const stopped = sleep(100).then(() => server.stop())
  for (let i = 0; i < CALLERS; i++) {
    const caller = connect({ port: server.port, host: '127.0.0.1' })
    open++
    caller.on('error', () => {})
    caller.on('close', () => open--)
    caller.resume()
    t.after(() => caller.destroy())
    await sleep(2)
  }
  await eventually('all are turned away', () => open === 0)
  assert.equal(begun.isOver(), false, 'the stop has ended before they were')
  assert.match(await begun.finish(), /^HTTP\/1\.1 200 /)
  assert.equal((await stopped).code, 0)
})

interface Begun {
  isOver(): boolean
  /** Sends the rest of it. @returns what the server has sent */
  finish(): Promise<string>
}

/** A request whose body has begun. */
async function beginRequest(
  t: TestContext,
  port: number,
  { key, cert }: { readonly key: string; readonly cert: string },
): Promise<Begun> {
  const socket: TLSSocket = tlsConnect({
    port,
    host: '127.0.0.1',
    rejectUnauthorized: false,
    key,
    cert,
  })
  t.after(() => socket.destroy())
  let text = ''
  let isOver = false
  socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
  socket.on('error', () => {})
  socket.on('close', () => (isOver = true))
  await new Promise((resolve) => socket.once('secureConnect', resolve))
  const head =
    'PUT /v1/key/generate/a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n'
  socket.write(head)
  await eventually('the server waits for the body', () => text.includes('100 Continue'))
  text = ''
  return {
    isOver: () => isOver,
    finish: async () => {
      socket.write('{}')
      await eventually('the answer', () => isOver)
      return text
    },
  }
}
