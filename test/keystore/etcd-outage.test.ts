import assert from 'node:assert/strict'
import { after } from 'node:test'

import { TestEtcd } from '../support/etcd.ts'
import { without } from '../support/tools.ts'
import { type OutageSubject, serverOutages, storeOutages } from './outage.ts'

const skip = without('etcd')
const server = (skip === false ? await TestEtcd.start({ after }) : undefined) as TestEtcd

const start = async (): Promise<OutageSubject> => {
  const { settings } = server.config()
  const [member] = server.members
  assert.ok(member)
  return {
    port: member.port,
    at: (host, port) => ({
      kind: 'etcd',
      settings: { ...settings, endpoints: [`http://${host}:${port}`] },
    }),
    process: {
      kill: () => server.kill(member),
      start: () => server.start(member),
      signal: (name) => member.program?.signal(name),
    },
  }
}

storeOutages('etcd', start, { skip })
serverOutages('etcd', start, { skip })
