import { AzureFake } from '../support/azure-fake.ts'
import { httpTroubles } from '../support/troubles.ts'
import { keyStoreOutages } from './outages.ts'

keyStoreOutages(
  'azure.keyvault',
  async (t) => {
    const fake = await AzureFake.start(t)
    return {
      service: httpTroubles(fake.http),
      // The client checks that the vault is below the resource that it asks a token for.
      at: (url) => fake.config({ endpoint: url.replace('127.0.0.1', 'my-vault.vault.azure.test') }),
    }
  },
  { kills: 1 },
)
