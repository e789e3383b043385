import { after } from 'node:test'

import { Weed } from '../support/weed.ts'
import { without } from '../support/tools.ts'
import { type OutageSubject, serverOutages, storeOutages } from './outage.ts'

const skip = without('weed')
const server = (skip === false ? await Weed.start({ after }) : undefined) as Weed

const start = async (): Promise<OutageSubject> => {
  const { settings } = server.config()
  return {
    port: server.port,
    at: (host, port) => ({
      kind: 's3',
      settings: { ...settings, endpoint: `http://${host}:${port}` },
    }),
    process: server,
  }
}

storeOutages('s3', start, { skip })
serverOutages('s3', start, { skip })
