import { GcpFake } from '../support/gcp-fake.ts'
import { grpcTroubles } from '../support/troubles.ts'
import { keyStoreOutages } from './outages.ts'

keyStoreOutages('gcp.secretmanager', async (t) => {
  const fake = await GcpFake.start(t)
  return { service: grpcTroubles(fake), at: (endpoint) => fake.config({ endpoint }) }
})
