/** SeaweedFS: a real server that speaks S3, with users of different rights. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'

import { freePorts, Program } from './program.ts'
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
  readonly #program: Program
  #folders = 0

  private constructor(port: number, program: Program) {
    this.port = port
    this.#program = program
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
    const [port = 0] = ports
    const program = new Program(t, findTool('weed') ?? '', [
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
    const weed = new Weed(port, program)
    await program.ready(() => weed.makeBucket(BUCKET))
    return weed
  }

  async makeBucket(bucket: string): Promise<void> {
    const client = this.client()
    try {
      await client.send(new CreateBucketCommand({ Bucket: bucket }))
    } finally {
      client.destroy()
    }
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
    this.#program.signal(name)
  }
}
