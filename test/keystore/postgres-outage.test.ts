import { after } from 'node:test'

import { TestPostgres } from '../support/postgres.ts'
import { without } from '../support/tools.ts'
import { type OutageSubject, serverOutages, storeOutages } from './outage.ts'

const skip = without('initdb')
const server = (skip === false ? await TestPostgres.start({ after }) : undefined) as TestPostgres

const start = async (): Promise<OutageSubject> => {
  const { settings } = server.config()
  return {
    port: server.port,
    at: (host, port) => ({
      kind: 'postgres',
      settings: { ...settings, host, port: String(port), tls: { mode: 'disable' } },
    }),
    process: server,
  }
}

storeOutages('postgres', start, { skip })
serverOutages('postgres', start, { skip })
