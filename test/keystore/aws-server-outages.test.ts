import { AwsFake } from '../support/aws-fake.ts'
import { behindProxy } from '../support/troubles.ts'
import { serverOutages } from './outage.ts'

serverOutages('aws.secretsmanager', async (t) => {
  const fake = await AwsFake.start(t)
  const at = (host: string, port: number) => fake.config({ endpoint: `http://${host}:${port}` })
  return { ...(await behindProxy(t, fake.http.port)), at }
})
