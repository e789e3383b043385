/** moto's server: an emulator of AWS, without IAM. */

import { Program } from './program.ts'
import type { Owner } from './server.ts'
import type { StoreConfig } from './stores.ts'
import { findTool } from './tools.ts'

export class Moto {
  readonly #url: string

  private constructor(url: string) {
    this.#url = url
  }

  static async start(t: Owner): Promise<Moto> {
    const program = new Program(t, findTool('moto_server') ?? '', ['-H', '127.0.0.1', '-p', '0'])
    let url = ''
    await program.ready(async () => {
      url = /Running on (http:\/\/127\.0\.0\.1:\d+)/.exec(program.output)?.[1] ?? ''
      await fetch(`${url}/moto-api/data.json`)
    })
    return new Moto(url)
  }

  /** A region of its own would do, but all secrets of all tests cost time. */
  async emptyConfig(): Promise<StoreConfig> {
    await fetch(`${this.#url}/moto-api/reset`, { method: 'POST' })
    return this.config()
  }

  config(settings: Readonly<Record<string, unknown>> = {}): StoreConfig {
    return {
      kind: 'aws.secretsmanager',
      settings: {
        endpoint: this.#url,
        region: 'us-east-1',
        credentials: { accesskey: 'AKTEST', secretkey: 'secret' },
        ...settings,
      },
    }
  }

  /** One call of the API as its protocol has it, without our client. */
  async ask(operation: string, body: object): Promise<Record<string, unknown>> {
    const response = await fetch(this.#url, {
      method: 'POST',
      headers: {
        'content-type': 'application/x-amz-json-1.1',
        'x-amz-target': operation,
        authorization:
          'AWS4-HMAC-SHA256 Credential=AKTEST/20260101/us-east-1/secretsmanager/aws4_request, SignedHeaders=host, Signature=00',
      },
      body: JSON.stringify(body),
    })
    return (await response.json()) as Record<string, unknown>
  }
}
