import { GcpFake } from '../support/gcp-fake.ts'
import { behindProxy } from '../support/troubles.ts'
import { serverOutages } from './outage.ts'

serverOutages('gcp.secretmanager', async (t) => {
  const fake = await GcpFake.start(t)
  const at = (host: string, port: number) => fake.config({ endpoint: `${host}:${port}` })
  return { ...(await behindProxy(t, fake.port)), at }
})
