import { AzureFake } from '../support/azure-fake.ts'
import { behindProxy } from '../support/troubles.ts'
import { serverOutages } from './outage.ts'

serverOutages('azure.keyvault', async (t) => {
  const fake = await AzureFake.start(t)
  // The client checks that the vault is below the resource that it asks a token for.
  const at = (host: string, port: number) => {
    const name = host === '127.0.0.1' ? 'my-vault.vault.azure.test' : host
    return fake.config({ endpoint: `https://${name}:${port}` })
  }
  return { ...(await behindProxy(t, fake.http.port)), at }
})
