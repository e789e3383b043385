import assert from 'node:assert/strict'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { test } from 'node:test'

import { certificateOf, newCertificate } from '#src/crypto/certificate.js'
import { readCertificate } from '#src/crypto/der.js'
import { ApiKey, identityOf } from '#src/crypto/identity.js'

const DAY = 24 * 3600 * 1000

const apiKey = ApiKey.generate()
const made = await certificateOf(apiKey)
const parsed = new X509Certificate(made.certificate)
const facts = readCertificate(parsed.raw)

test('the certificate of an API key has its identity', () => {
  assert.equal(identityOf(facts.publicKey), apiKey.identity)
})

test('the certificate of an API key fits the private key beside it', () => {
  assert.ok(parsed.checkPrivateKey(createPrivateKey(made.privateKey)))
})

test('the certificate of an API key names the identity as subject and issuer', () => {
  assert.equal(parsed.subject, `CN=${apiKey.identity}`)
  assert.equal(parsed.issuer, `CN=${apiKey.identity}`)
})

test('the certificate of an API key is valid for 90 days', () => {
  const days = (facts.notAfter - Date.now()) / DAY
  assert.ok(days > 89.9 && days <= 90, `${days}`)
})

test('the certificate of an API key is valid at once, also where the clock is a little behind', () => {
  assert.ok(facts.notBefore <= Date.now() - 30_000)
})

test('the certificate of an API key is for clients and servers', () => {
  assert.deepEqual(new Set(parsed.keyUsage), new Set(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']))
  assert.ok(facts.clientAuth)
})

test('the certificate of an API key is no CA certificate', () => {
  assert.equal(facts.isCa, false)
})

test('the certificate of an API key is signed by itself', () => {
  assert.ok(parsed.verify(parsed.publicKey))
})

test('two certificates of one API key have different serial numbers of 16 bytes', async () => {
  const again = new X509Certificate((await certificateOf(apiKey)).certificate)
  assert.notEqual(again.serialNumber, parsed.serialNumber)
  for (const { serialNumber } of [again, parsed]) assert.match(serialNumber, /^[0-7][0-9A-F]{31}$/)
})

test('a new certificate has the names and addresses that it is asked for', async () => {
  const request = { subject: 'kes', dns: ['localhost'], ip: ['127.0.0.1', '::1'], lifetime: DAY }
  const certificate = new X509Certificate((await newCertificate(request)).certificate)
  assert.equal(certificate.checkHost('localhost'), 'localhost')
  assert.equal(certificate.checkIP('127.0.0.1'), '127.0.0.1')
  assert.equal(certificate.checkIP('::1'), '::1')
})

test('a new certificate has a new key', async () => {
  const request = { subject: 'kes', lifetime: DAY }
  const keys = await Promise.all([newCertificate(request), newCertificate(request)])
  assert.notEqual(keys[0].privateKey, keys[1].privateKey)
})
