/** SeaweedFS: a real server that speaks S3, with users of different rights. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { CreateBucketCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'

import { ENDED_BY_ITS_MAKER, freePorts, Program } from './program.ts'
import { type Owner, tempDir } from './server.ts'
import type { StoreConfig } from './stores.ts'
import { findTool } from './tools.ts'

const SECRET = 'a+Secret/of=the+tests'
export const BUCKET = 'kes-keys'

/** What the user with this name, and access key, may do. */
const USERS: Readonly<Record<string, readonly string[]>> = {
  admin: ['Admin', 'Read', 'Write', 'List'],
  reader: ['Read', 'List'],
  writer: ['Write'],
}

export class Weed {
  readonly port: number
  readonly #args: readonly string[]
  #program: Program | undefined
  #folders = 0

  private constructor(port: number, args: readonly string[]) {
    this.port = port
    this.#args = args
  }

  static async start(t: Owner): Promise<Weed> {
    const directory = tempDir(t)
    const config = join(directory, 's3.json')
    const identities = Object.entries(USERS).map(([name, actions]) => ({
      name,
      credentials: [{ accessKey: name, secretKey: SECRET }],
      actions,
    }))
    writeFileSync(config, JSON.stringify({ identities }))
    const flags = ['s3.port', 's3.port.grpc', 'master.port', 'master.port.grpc', 'volume.port']
    flags.push('volume.port.grpc', 'filer.port', 'filer.port.grpc')
    const ports = await freePorts(flags.length)
    const weed = new Weed(ports[0] ?? 0, [
      'server',
      '-ip=127.0.0.1',
      '-ip.bind=127.0.0.1',
      `-dir=${directory}`,
      '-s3',
      `-s3.config=${config}`,
      ...flags.map((flag, index) => `-${flag}=${ports[index]}`),
      // What it would open beside that, and whom it would tell.
      ...['s3.port.iceberg', 's3.port.lance'].map((flag) => `-${flag}=0`),
      ...['s3', 'filer'].map((name) => `-${name}.localSocket=${join(directory, name)}.sock`),
      '-master.telemetry=false',
      '-master.volumeSizeLimitMB=64',
      '-volume.max=5',
    ])
    t.after(() => weed.kill())
    await weed.start()
    return weed
  }

  /** Starts it, maybe again, with the same data and port; resolves when it takes objects. */
  async start(): Promise<void> {
    const program = new Program(ENDED_BY_ITS_MAKER, findTool('weed') ?? '', this.#args)
    this.#program = program
    const client = this.client()
    try {
      await program.ready(async () => {
        await client.send(new CreateBucketCommand({ Bucket: BUCKET })).catch(isThere)
        await client.send(new PutObjectCommand({ Bucket: BUCKET, Key: 'started', Body: 'x' }))
      })
    } finally {
      client.destroy()
    }
  }

  async kill(): Promise<void> {
    await this.#program?.kill()
  }

  client(): S3Client {
    process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] = 'true'
    return new S3Client({
      endpoint: `http://127.0.0.1:${this.port}`,
      region: 'us-east-1',
      forcePathStyle: true,
      credentials: { accessKeyId: 'admin', secretAccessKey: SECRET },
    })
  }

  /** A keystore with a folder of its own. */
  config(given: Readonly<Record<string, unknown>> = {}, user = 'admin'): StoreConfig {
    return {
      kind: 's3',
      settings: {
        endpoint: `http://127.0.0.1:${this.port}`,
        bucket: BUCKET,
        prefix: `test-${++this.#folders}`,
        credentials: { access_key: user, secret_key: SECRET },
        ...given,
      },
    }
  }

  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#program?.signal(name)
  }
}

function isThere(error: Error): void {
  if (!error.name.startsWith('BucketAlready')) throw error
}
