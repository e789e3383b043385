/** drongo: an emulator of GCP that speaks REST; without paging, etags and rights. */

import { Program } from './program.ts'
import type { Owner } from './server.ts'
import { serviceAccount } from './gcp-fake.ts'
import type { StoreConfig } from './stores.ts'
import { findTool } from './tools.ts'

export class Drongo {
  readonly #url: string
  #projects = 0

  private constructor(url: string) {
    this.#url = url
  }

  static async start(t: Owner): Promise<Drongo> {
    const args = ['server', '--host', '127.0.0.1', '--port', '0']
    const env = { PYTHONUNBUFFERED: '1' }
    const program = new Program(t, findTool('drongo') ?? '', args, { env })
    let url = ''
    await program.ready(async () => {
      url = /listening on (http:\/\/127\.0\.0\.1:\d+)/.exec(program.output)?.[1] ?? ''
      await fetch(url)
    })
    return new Drongo(url)
  }

  /** A project of its own. */
  config(): StoreConfig {
    return {
      kind: 'gcp.secretmanager',
      settings: {
        project_id: `project-${++this.#projects}`,
        endpoint: this.#url,
        credentials: serviceAccount(),
      },
    }
  }

  /** One call of the API, without our client. @param path below the project */
  async ask(config: StoreConfig, method: string, path: string, body?: object): Promise<unknown> {
    const url = `${this.#url}/v1/projects/${String(config.settings['project_id'])}/${path}`
    const response = await fetch(url, {
      method,
      ...(body !== undefined && { body: JSON.stringify(body) }),
      headers: { 'content-type': 'application/json' },
    })
    return response.json()
  }
}
