import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'

import { importOptional } from '#src/keystore/optional.js'

test('an optional package that is there is loaded', async () => {
  const loaded = await importOptional('pg', () => import('node:path'))
  assert.equal(typeof loaded.join, 'function')
})

test('an optional package that is missing is an error that says what to install', async () => {
  const missing = 'a-package-that-nobody-installs'
  const { optionalDependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as {
    optionalDependencies: Record<string, string>
  }
  await assert.rejects(
    importOptional('@aws-sdk/client-s3', () => import(missing)),
    {
      name: 'KeyStoreError',
      failure: 'failed',
      message:
        'this keystore needs the npm package @aws-sdk/client-s3, which is not installed: install openkes again ' +
        'without --omit=optional, or beside it: npm install @aws-sdk/client-s3@' +
        String(optionalDependencies['@aws-sdk/client-s3']),
    },
  )
})

test('an optional package that is there and broken is not taken for a missing one', async () => {
  const broken = async (): Promise<never> => {
    throw new SyntaxError('Unexpected token')
  }
  await assert.rejects(importOptional('pg', broken), { name: 'SyntaxError' })
})

test('a package that is no optional dependency of ours is a bug', async () => {
  const missing = 'a-package-that-nobody-installs'
  await assert.rejects(
    importOptional(missing, () => import(missing)),
    /^Error: bug:/,
  )
})
