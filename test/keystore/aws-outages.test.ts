import { AwsFake } from '../support/aws-fake.ts'
import { httpTroubles } from '../support/troubles.ts'
import { trustedCertificate } from '../support/trust.ts'
import { keyStoreOutages } from './outages.ts'

keyStoreOutages('aws.secretsmanager', async (t) => {
  const fake = await AwsFake.start(t, await trustedCertificate())
  return { service: httpTroubles(fake.http), at: (endpoint) => fake.config({ endpoint }) }
})
