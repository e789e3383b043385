import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'

import fc from 'fast-check'

import type { LoadOptions } from '#src/config/config.js'
import { ConfigError, loadConfig, loadConfigFile, loadKeyStoreFile } from '#src/config/load.js'
import { ApiKey } from '#src/crypto/identity.js'
import { fs } from '#src/keystore/fs.js'
import { KEY_STORES } from '#src/keystore/index.js'
import { tempDir } from '../support/server.ts'

const [ADMIN, ALICE, BOB] = ['a', 'b', 'c'].map((digit) => digit.repeat(64))

const HEAD = `admin: { identity: ${ADMIN} }\ntls: { key: server.key, cert: server.cert }\n`
const KEYSTORE = 'keystore: { memory: {} }\n'
/** The least that a server needs. */
const BASE = HEAD + KEYSTORE

type Env = NonNullable<LoadOptions['env']>

function load(text: string, options: LoadOptions = {}) {
  return loadConfig(text, 'kes.yml', { env: {}, ...options })
}

/** The config of a text without findings. */
function good(text: string, env: Env = {}) {
  const { config, warnings } = load(text, { env })
  assert.deepEqual(warnings, [])
  return config
}

/** What is wrong with a text. */
function errors(text: string, options: LoadOptions = {}): readonly string[] {
  try {
    load(text, options)
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error))
    assert.equal(error.message, error.findings.join('\n'))
    return error.findings
  }
  return assert.fail('nothing was wrong')
}

const FULL = `
version: v1
address: 0.0.0.0:7373
admin:
  identity: ${ADMIN}
tls:
  key: ./server.key
  cert: ./server.cert
  password: "secret"
  auth: ""
  ca: ""
  proxy:
    identities: []
    header:
      cert: X-Tls-Client-Cert
api:
  /v1/ready:
    skip_auth: false
    timeout:   15s
  /v1/status: { skip_auth: true }
policy:
  my-app:
    allow:
    - /v1/key/create/my-app*
    - /v1/key/generate/my-app*
    deny:
    - /v1/key/generate/my-app-internal*
    identities:
    - ${ALICE}
    - \${MY_APP_IDENTITY}
  empty: {}
cache:
  expiry:
    any: 5m0s
    unused: 30s
    offline: 0s
log:
  error: on
  audit: off
keys:
- name: some-key
- name: another-key
keystore:
  fs:
    path: ./keys # of this host
`

test('a config with all sections of the Go server loads without findings', () => {
  const config = good(FULL, { MY_APP_IDENTITY: BOB })
  assert.deepEqual(config, {
    address: { host: '0.0.0.0', port: 7373 },
    admin: ADMIN,
    tls: {
      key: './server.key',
      cert: './server.cert',
      password: 'secret',
      auth: false,
      ca: '',
      proxy: { identities: [], header: 'X-Tls-Client-Cert', admin: false },
    },
    api: new Map([
      ['/v1/ready', { skipAuth: false, timeout: 15_000 }],
      ['/v1/status', { skipAuth: true, timeout: undefined }],
    ]),
    policies: [
      {
        name: 'my-app',
        allow: ['/v1/key/create/my-app*', '/v1/key/generate/my-app*'],
        deny: ['/v1/key/generate/my-app-internal*'],
        identities: [ALICE, BOB],
        language: 'current',
        generation: undefined,
      },
      {
        name: 'empty',
        allow: [],
        deny: [],
        identities: [],
        language: 'current',
        generation: undefined,
      },
    ],
    generation: 'current',
    cache: { any: 300_000, unused: 30_000, offline: 0, changes: 15_000 },
    log: { threshold: 0, audit: false, format: 'text' },
    keys: [
      { name: 'some-key', rotateEvery: 0 },
      { name: 'another-key', rotateEvery: 0 },
    ],
    deletionWindow: 0,
    http: 'lean',
    overload: { inFlight: 10_000, delay: 250 },
    rustfs: undefined,
    keystore: { kind: fs, settings: { path: './keys' } },
  })
})

test('what is left out has its default', () => {
  const { address, tls, cache, log, keys, policies, api } = good(BASE)
  assert.deepEqual(address, { host: '0.0.0.0', port: 7373 })
  assert.deepEqual([tls.auth, tls.ca, tls.password], [false, '', ''])
  assert.deepEqual(cache, { any: 300_000, unused: 30_000, offline: 0, changes: 15_000 })
  assert.deepEqual(log, { threshold: 0, audit: false, format: 'text' })
  assert.deepEqual([keys, policies, api.size], [[], [], 0])
})

test('sections that are left empty have their defaults', () => {
  const empty = 'address:\napi:\npolicy:\ncache:\nlog:\nkeys: ~\n'
  assert.deepEqual(good(BASE + empty), good(BASE))
})

test('a version other than v1 is refused', () => {
  for (const version of ['v2', '1', '""'])
    assert.match(errors(`${BASE}version: ${version}\n`).join(), /kes\.yml:4:1: version: must be v1/)
})

// ${ENV}

const POLICY = (identity: string): string => `${BASE}policy: { p: { identities: [${identity}] } }\n`

test('a variable stands for a scalar, quoted or not, trimmed', () => {
  for (const scalar of ['"${ID}"', "'${ID}'", '"  ${ID} "', '"${ ID }"']) {
    const config = good(POLICY(scalar), { ID: `  ${ALICE}\n` })
    assert.deepEqual(config.policies[0]?.identities, [ALICE])
  }
})

test('a variable without quotes stands for a scalar where YAML allows braces', () => {
  const text = `${BASE}policy:\n  p:\n    identities:\n    - \${ID}\n`
  assert.deepEqual(good(text, { ID: ALICE }).policies[0]?.identities, [ALICE])
})

test('a variable may stand for any kind of field', () => {
  const env = { ADDRESS: ':1', AUTH: 'on', ANY: '1m', LEVEL: 'DEBUG', DIRECTORY: '/keys' }
  const config = good(
    `address: \${ADDRESS}
admin: { identity: ${ADMIN} }
tls: { key: k, cert: c, auth: "\${AUTH}" }
cache: { expiry: { any: "\${ANY}" } }
log: { error: "\${LEVEL}" }
keystore: { fs: { path: "\${DIRECTORY}" } }`,
    env,
  )
  assert.deepEqual(config.address, { host: '', port: 1 })
  assert.equal(config.tls.auth, true)
  assert.equal(config.cache.any, 60_000)
  assert.equal(config.log.threshold, -4)
  assert.deepEqual(config.keystore.settings, { path: '/keys' })
})

test('a variable within a scalar is ordinary text', () => {
  const config = good(`${HEAD}keystore: { fs: { path: "/keys/\${DIR}" } }`, { DIR: 'x' })
  assert.deepEqual(config.keystore.settings, { path: '/keys/${DIR}' })
})

test('a value that looks like a variable is not looked up again', () => {
  const config = good(`${HEAD}keystore: { fs: { path: "\${A}" } }`, { A: '${B}', B: 'x' })
  assert.deepEqual(config.keystore.settings, { path: '${B}' })
})

test('a value of a variable is text, whatever YAML would make of it', () => {
  const config = good(`${HEAD}keystore: { fs: { path: "\${A}" } }`, { A: '{ a: [' })
  assert.deepEqual(config.keystore.settings, { path: '{ a: [' })
})

test('a missing variable is an error with its name and place', () => {
  assert.deepEqual(errors(POLICY('"${ID}"')), [
    'kes.yml:4:29: policy.p.identities[0]: the environment variable ID is not set',
  ])
})

test('a variable with a name of Object’s prototype is missing like any other', () => {
  for (const name of ['constructor', '__proto__', 'toString']) {
    const text = POLICY(`"\${${name}}"`)
    for (const env of [{}, process.env]) assert.match(errors(text, { env }).join(), /is not set/)
  }
})

// on, off

for (const [words, value] of [
  [['on', 'On', 'yes', 'true', '"on"', "'yes'", '"true"'], true],
  [['off', 'OFF', 'no', 'false', '"off"', "'no'", '"false"', '""', '', '~'], false],
] as const) {
  for (const word of words) {
    test(`auth: ${word} is ${value}`, () => {
      const text = BASE.replace('cert: server.cert', `cert: server.cert, auth: ${word}`)
      assert.equal(good(text).tls.auth, value)
    })
  }
}

test('another word than on and off is refused', () => {
  for (const word of ['1', 'enabled', 'constructor']) {
    const text = BASE.replace('cert: server.cert', `cert: server.cert, auth: ${word}`)
    assert.deepEqual(errors(text), ['kes.yml:2:44: tls.auth: write on or off'])
  }
})

const LEVEL_WORDS: readonly [word: string, threshold: number][] = [
  ['on', 0],
  ['"on"', 0],
  ['off', Number.POSITIVE_INFINITY],
  ['debug', -4],
  ['info', 0],
  ['WARN', 4],
  ['error', 8],
  ['INFO+1', 1],
  ['ERROR-2', 6],
]

for (const [word, threshold] of LEVEL_WORDS) {
  test(`log.error: ${word} writes from level ${threshold} on`, () => {
    assert.equal(good(`${BASE}log: { error: ${word} }`).log.threshold, threshold)
  })
}

test('another word than a level is refused', () => {
  for (const word of ['loud', 'INFO+', '+1', 'trace', '3'])
    assert.match(
      errors(`${BASE}log: { error: ${word} }`).join(),
      /kes\.yml:4:8: log\.error: write /,
    )
})

// Old spellings

function warned(text: string, ...warnings: string[]) {
  const loaded = load(text)
  assert.deepEqual(loaded.warnings, warnings)
  return loaded.config
}

test('policy.<name>.paths is allow, with a warning', () => {
  const config = warned(
    `${BASE}policy:\n  p:\n    paths: [ /v1/status ]\n`,
    'kes.yml:6:5: policy.p.paths: an old spelling; write allow',
  )
  assert.deepEqual(config.policies[0]?.allow, ['/v1/status'])
})

test('policy.<name>.paths beside allow is an error', () => {
  const text = `${BASE}policy: { p: { paths: [ a ], allow: [ b ] } }\n`
  assert.match(errors(text).join(), /policy\.p\.paths: stands beside allow/)
})

test('root is admin.identity, with a warning', () => {
  const text = BASE.replace(/^admin.*/, `root: ${ADMIN}`)
  const config = warned(text, 'kes.yml:1:1: root: an old spelling; write admin.identity')
  assert.equal(config.admin, ADMIN)
})

test('root beside admin is an error', () => {
  assert.match(errors(`${BASE}root: ${ADMIN}\n`).join(), /root: stands beside admin/)
})

test('keys as a map is keystore, with a warning', () => {
  const config = warned(
    `${HEAD}keys: { fs: { path: x } }\n`,
    'kes.yml:3:1: keys: as a map this is an old spelling; write keystore',
  )
  assert.equal(config.keystore.kind.name, 'fs')
})

test('keys as a map beside keystore is an error', () => {
  assert.match(errors(`${BASE}keys: { memory: {} }\n`).join(), /keys: stands beside keystore/)
})

test('what the Go server always ignored is ignored, with a warning', () => {
  warned(
    `${HEAD}keystore: { kes: { endpoint: x }, memory: {} }\n`,
    'kes.yml:3:13: keystore.kes: has no effect; it is ignored',
  )
})

// Unknown fields

test('an unknown field is an error with its place and the nearest known one', () => {
  const found = errors(BASE.replace('key: server', 'kee: server'))
  assert.ok(
    found.includes('kes.yml:2:8: tls.kee: unknown field; did you mean tls.key?'),
    found.join(),
  )
})

test('a misspelt deny is an error', () => {
  const text = `${BASE}policy:\n  p:\n    denny: [ "*" ]\n`
  const finding = 'kes.yml:6:5: policy.p.denny: unknown field; did you mean policy.p.deny?'
  assert.deepEqual(errors(text), [finding])
})

test('an unknown section is an error, without a hint when none is near', () => {
  assert.deepEqual(errors(`${BASE}xylophone: {}\n`), ['kes.yml:4:1: xylophone: unknown field'])
})

test('unknown fields are found in lists and by any name', () => {
  const text = `${BASE}keys:\n- name: a\n  constructor: x\n__proto__: {}\n`
  assert.deepEqual(errors(text), [
    'kes.yml:6:3: keys[0].constructor: unknown field',
    'kes.yml:7:1: __proto__: unknown field',
  ])
})

test('a lenient start takes unknown fields for warnings', () => {
  const { warnings } = load(`${BASE}xylophone: {}\npolicy: { p: { denny: [] } }\n`, {
    lenient: true,
  })
  assert.deepEqual(warnings, [
    'kes.yml:4:1: xylophone: unknown field, ignored',
    'kes.yml:5:16: policy.p.denny: unknown field, ignored; did you mean policy.p.deny?',
  ])
})

test('several findings come at once, sorted by line', () => {
  const places = errors(`${HEAD}xylophone: {}
cache: { expiry: { any: -5m, unused: soon } }
keystore: { memory: {} }
policy: { p: { denny: [] } }
address: nowhere
`).map((finding) => /^kes\.yml:(\d+:\d+): ([\w.]+):/.exec(finding)?.slice(1))
  assert.deepEqual(places, [
    ['3:1', 'xylophone'],
    ['4:20', 'cache.expiry.any'],
    ['4:30', 'cache.expiry.unused'],
    ['6:16', 'policy.p.denny'],
    ['7:1', 'address'],
  ])
})

test('a value of the wrong shape is an error in plain words', () => {
  const found = (text: string): string => errors(BASE + text).join()
  assert.match(found('cache: 5m'), /cache: a section with fields is expected/)
  assert.match(found('policy: [ a ]'), /policy: a section with fields is expected/)
  assert.match(found('policy: { p: { allow: a } }'), /policy\.p\.allow: a list is expected/)
  assert.match(found('address: [ a ]'), /address: a text is expected/)
  assert.match(found('keys: [ a ]'), /keys\[0\]: a section with fields is expected/)
  assert.match(
    errors(`${HEAD}keystore: { fs: { path: [ a ] } }`).join(),
    /keystore\.fs\.path: a text is expected/,
  )
})

test('a file that is no map of sections is an error', () => {
  for (const text of ['abc', '[]', '"a"']) assert.match(errors(text).join(), /a map of sections/)
})

test('an empty file is an error that names what is missing', () => {
  const found = errors('').join()
  assert.match(found, /admin/)
  assert.match(found, /keystore/)
})

// Identities

test('an admin that is no identity switches the admin off', () => {
  for (const word of ['disabled', 'off', '_'])
    assert.equal(good(BASE.replace(ADMIN ?? '', word)).admin, undefined)
})

test('an identity in two policies is an error that names both places', () => {
  const text = `${BASE}policy:\n  p:\n    identities: [ ${ALICE} ]\n  q:\n    identities: [ ${ALICE} ]\n`
  const finding =
    "kes.yml:8:19: policy.q.identities[0]: this identity is already in the policy 'p' (line 6:19)"
  assert.deepEqual(errors(text), [finding])
})

test('an identity twice in one policy is an error', () => {
  assert.match(errors(POLICY(`${ALICE}, ${ALICE}`)).join(), /already in the policy 'p'/)
})

test('the admin in a policy is an error that names both places', () => {
  assert.deepEqual(errors(POLICY(String(ADMIN))), [
    'kes.yml:4:29: policy.p.identities[0]: this identity is already the admin (line 1:10)',
  ])
})

test('what is no identity in a policy is ignored, with a warning', () => {
  const { config, warnings } = load(POLICY('somebody'))
  assert.deepEqual(config.policies[0]?.identities, [])
  assert.match(warnings.join(), /^kes\.yml:4:29: policy\.p\.identities\[0\]: not an identity/)
})

/** `tls.proxy` on the fifth line of a config with a policy. */
function withProxy(proxy: string): string {
  return `admin: { identity: ${ADMIN} }
policy: { p: { identities: [ ${ALICE} ] } }
tls:
  { key: server.key, cert: server.cert,
    proxy: ${proxy} }
${KEYSTORE}`
}

test('TLS proxies, their header and whether the admin comes through them are read', () => {
  assert.deepEqual(good(withProxy(`{ identities: [ ${BOB} ] }`)).tls.proxy, {
    identities: [BOB],
    header: 'X-Tls-Client-Cert',
    admin: false,
  })
  const own = '{ identities: [ "${PROXY}" ], header: { cert: X-SSL-Cert }, admin: on }'
  assert.deepEqual(good(withProxy(own), { PROXY: String(BOB) }).tls.proxy, {
    identities: [BOB],
    header: 'X-SSL-Cert',
    admin: true,
  })
})

test('a TLS proxy that is the admin, in a policy, or there twice is an error that names both places', () => {
  const at = 'kes.yml:5:28: tls.proxy.identities[0]: this identity is already'
  assert.deepEqual(errors(withProxy(`{ identities: [ ${ADMIN} ] }`)), [
    `${at} the admin (line 1:10)`,
  ])
  assert.deepEqual(errors(withProxy(`{ identities: [ ${ALICE} ] }`)), [
    `${at} in the policy 'p' (line 2:30)`,
  ])
  assert.match(
    errors(withProxy(`{ identities: [ ${BOB}, ${BOB} ] }`)).join(),
    /identities\[1\]: this identity is already a TLS proxy \(line 5:28\)/,
  )
})

test('a TLS proxy that is no identity is ignored, with a warning', () => {
  const { config, warnings } = load(withProxy('{ identities: [ nginx ] }'))
  assert.deepEqual(config.tls.proxy.identities, [])
  assert.match(warnings.join(), /^kes\.yml:5:28: tls\.proxy\.identities\[0\]: not an identity/)
})

test('a header that has no header’s name is an error', () => {
  for (const name of ['X Cert', '"X-Cert:"', '"X-Cert\\r\\nX"', 'Zertifikät', '":path"'])
    assert.match(
      errors(withProxy(`{ header: { cert: ${name} } }`)).join(),
      /tls\.proxy\.header\.cert: /,
    )
})

const SECRET = ApiKey.generate().reveal()
const PASTED = { 'an API key': SECRET, 'an API key without its prefix': SECRET.slice(7) }

for (const [what, secret] of Object.entries(PASTED)) {
  for (const [where, text, env] of [
    ['the admin', BASE.replace(ADMIN ?? '', secret), {}],
    ['a member', POLICY(secret), {}],
    ['a TLS proxy', withProxy(`{ identities: [ "${secret}" ] }`), {}],
    ['a member by a variable', POLICY('"${ID}"'), { ID: secret }],
    ['root', BASE.replace(/^admin.*/, `root: ${secret}`), {}],
  ] as const) {
    test(`${what} in place of ${where}’s identity is refused with a hint, and not repeated`, () => {
      const found = errors(text, { env }).join()
      assert.match(found, /this is an API key, a secret: write its identity/)
      assert.ok(!found.includes(secret.slice(-40)))
    })
  }
}

// Keystores

const THERE_ARE = `there are: ${KEY_STORES.map(({ name }) => name).join(', ')}`
const AWS = '{ secretsmanager: { endpoint: x, region: y } }'

test('no keystore is an error that lists what there is', () => {
  for (const text of ['', 'keystore:\n', 'keystore: {}\n', 'keystore: { aws: }\n'])
    assert.ok(errors(HEAD + text)[0]?.endsWith(`keystore: no keystore is configured; ${THERE_ARE}`))
})

test('more than one keystore is an error that names them', () => {
  const two = (section: string): string => errors(`${HEAD}keystore: ${section}`).join()
  const message = 'kes.yml:3:1: keystore: more than one keystore is configured:'
  assert.equal(two('{ fs: { path: x }, memory: {} }'), `${message} fs, memory`)
  assert.equal(two(`{ memory: {}, aws: ${AWS} }`), `${message} aws.secretsmanager, memory`)
})

test('a keystore that is left empty beside another one is not meant', () => {
  for (const empty of ['fs:', 'aws:', 'aws: { secretsmanager: }'])
    assert.equal(good(`${HEAD}keystore:\n  ${empty}\n  memory: {}\n`).keystore.kind.name, 'memory')
})

test('a keystore with a dot in its name stands one level deeper', () => {
  const { kind, settings } = good(`${HEAD}keystore: { aws: ${AWS} }`).keystore
  assert.equal(kind.name, 'aws.secretsmanager')
  assert.equal((settings as { region?: string }).region, 'y')
})

test('what a keystore one level deeper lacks is said with its whole name', () => {
  assert.match(
    errors(`${HEAD}keystore: { aws: { secretsmanager: } }`).join(),
    /keystore\.aws\.secretsmanager\.endpoint: a value is needed/,
  )
  for (const section of ['x', '[ secretsmanager ]'])
    assert.match(
      errors(`${HEAD}keystore: { aws: ${section}, memory: {} }`).join(),
      /keystore\.aws: a section with fields is expected/,
    )
})

test('a misspelt word of a keystore one level deeper is recognised', () => {
  const found = (section: string): string => errors(`${HEAD}keystore: { ${section} }`).join()
  const name = 'did you mean keystore.aws.secretsmanager?'
  assert.equal(
    found('aws: { secretmanager: {} }'),
    `kes.yml:3:20: keystore.aws.secretmanager: unknown keystore; ${name}`,
  )
  assert.ok(found('aws: { secretsmanager: {}, secretsmanger: {} }').endsWith(name))
  assert.ok(found('secretsmanager: {}').endsWith(name))
  assert.match(
    found('aws: { secretsmanager: { endpoint: x, region: y, kmskye: z } }'),
    /unknown field; did you mean keystore\.aws\.secretsmanager\.kmskey\?/,
  )
})

test('a keystore that nobody knows is an error, also at a lenient start', () => {
  for (const lenient of [false, true]) {
    const [found] = errors(`${HEAD}keystore: { floppy: {} }`, { lenient })
    assert.ok(found?.endsWith(`keystore.floppy: unknown keystore; ${THERE_ARE}`))
  }
})

test('a directory is needed for keystore.fs', () => {
  for (const section of ['{}', '{ path: "" }', '{ path: }'])
    assert.match(errors(`${HEAD}keystore: { fs: ${section} }`).join(), /keystore\.fs\.path: /)
})

// Single fields

test('a bad or negative duration is an error', () => {
  for (const value of ['-1s', '5', 'soon', '1d', '1h-5m', '""'])
    assert.deepEqual(errors(`${BASE}cache: { expiry: { any: ${value} } }`), [
      'kes.yml:4:20: cache.expiry.any: not a duration: write it like 1h2m3.5s, 300ms or 0s',
    ])
})

test('fields of our own take whole days', () => {
  const config = good(
    `${BASE}key: { deletion_window: 7d }\ncache: { expiry: { changes: 1d } }\nkeys: [ { name: a, rotate_every: 90d }, { name: b, rotate_every: 36h } ]\n`,
  )
  assert.equal(config.deletionWindow, 7)
  assert.equal(config.cache.changes, 86_400_000)
  assert.deepEqual(
    config.keys.map(({ rotateEvery }) => rotateEvery),
    [90 * 86_400_000, 36 * 3_600_000],
  )
})

test('a deletion window is 7 to 30 whole days, or none', () => {
  for (const days of [7, 30])
    assert.equal(good(`${BASE}key: { deletion_window: ${days * 24}h }`).deletionWindow, days)
  assert.equal(good(`${BASE}key: { deletion_window: 0s }`).deletionWindow, 0)
  for (const value of ['6d', '31d', '1h', '169h', '1s'])
    assert.deepEqual(errors(`${BASE}key: { deletion_window: ${value} }`), [
      'kes.yml:4:8: key.deletion_window: write 0s, or whole days from 7d to 30d',
    ])
  assert.match(errors(`${BASE}key: { deletion_window: soon }`).join(), /not a duration: write it/)
})

test('a key is not rotated more often than once a day', () => {
  assert.match(
    errors(`${BASE}keys: [ { name: a, rotate_every: 23h } ]`).join(),
    /keys\[0\]\.rotate_every: a key has 100 changes at most: write 1d or more, or 0s/,
  )
})

test('authentication can be lifted for ready, status, metrics and api', () => {
  for (const path of ['/v1/ready', '/v1/status', '/v1/metrics', '/v1/api'])
    assert.equal(good(`${BASE}api: { ${path}: { skip_auth: on } }`).api.get(path)?.skipAuth, true)
})

test('authentication can be lifted nowhere else', () => {
  for (const path of ['/version', '/v1/key/list/', '/v1/log/audit', '/v1/key/create'])
    assert.match(
      errors(`${BASE}api: { ${path}: { skip_auth: on } }`).join(),
      /^kes\.yml:4:\d+: api\.\S+\.skip_auth: this API needs a certificate/,
    )
})

test('each API may have its own time, and may lack its final slash', () => {
  const { api } = good(`${BASE}api: { /v1/key/create: { timeout: 3s }, /v1/log/audit: {} }`)
  assert.deepEqual(api.get('/v1/key/create/'), { skipAuth: false, timeout: 3000 })
})

test('an unknown API is an error with the nearest known one', () => {
  assert.deepEqual(errors(`${BASE}api: { /v1/redy: {} }`), [
    'kes.yml:4:8: api./v1/redy: there is no such API; did you mean /v1/ready?',
  ])
})

test('a bad key name is an error, and so is one twice', () => {
  assert.deepEqual(errors(`${BASE}keys:\n- name: a.b\n- name: a\n- name: a\n`), [
    'kes.yml:5:3: keys[0].name: not a key name: 1 to 80 of 0-9 A-Z a-z _ -, no - first or last',
    'kes.yml:7:3: keys[2].name: this key is in the list twice',
  ])
})

test('a star in the middle of a rule is an ordinary character, with a warning', () => {
  const text = `${BASE}policy: { p: { allow: [ /v1/key/*/a, /v1/key/* ], deny: [ "**" ] } }\n`
  const { config, warnings } = load(text)
  assert.deepEqual(config.policies[0]?.allow, ['/v1/key/*/a', '/v1/key/*'])
  assert.equal(warnings.length, 2)
  assert.match(warnings.join('\n'), /allow\[0\]: a \* is a wildcard only at the end/)
  assert.match(warnings.join('\n'), /deny\[0\]: a \* is a wildcard only at the end/)
})

test('the certificate and the key of the server are needed, in the file or on the command line', () => {
  const text = BASE.replace(/^tls.*\n/m, '')
  assert.deepEqual(
    errors(text).map((finding) => /tls\.\w+/.exec(finding)?.[0]),
    ['tls.key', 'tls.cert'],
  )
  const { config } = load(text, { overrides: { key: 'k', cert: 'c' } })
  assert.deepEqual([config.tls.key, config.tls.cert], ['k', 'c'])
})

test('the command line wins over the file', () => {
  const overrides = { address: ':1', key: 'k', cert: 'c', auth: true }
  const { config } = load(BASE, { overrides })
  assert.deepEqual(config.address, { host: '', port: 1 })
  assert.deepEqual([config.tls.key, config.tls.cert, config.tls.auth], ['k', 'c', true])
})

test('a bad address on the command line is an error', () => {
  assert.match(errors(BASE, { overrides: { address: 'nowhere' } }).join(), /--addr: not an address/)
})

test('a file that is not there is looked for beside the config file', (t) => {
  const directory = tempDir(t)
  const text = BASE.replace('server.key', 'keys/my.key')
  mkdirSync(join(directory, 'keys'))
  writeFileSync(join(directory, 'keys', 'my.key'), '')
  const { config } = loadConfig(text, join(directory, 'kes.yml'), { env: {} })
  assert.equal(config.tls.key, join(directory, 'keys', 'my.key'))
  assert.equal(config.tls.cert, 'server.cert')
})

test('a config file is read', (t) => {
  const path = join(tempDir(t), 'kes.yml')
  writeFileSync(path, BASE)
  assert.equal(loadConfigFile(path, { env: {} }).config.admin, ADMIN)
})

test('a config file that cannot be read is an error that names it', (t) => {
  const path = join(tempDir(t), 'absent.yml')
  assert.throws(() => loadConfigFile(path), {
    name: 'ConfigError',
    message: new RegExp(`^${path}: cannot be read: `),
  })
})

// YAML

test('an alias stands for its anchor', () => {
  const config = good(`${BASE}policy:
  p: { allow: &rules [ /v1/status ] }
  q: { allow: *rules }
`)
  assert.deepEqual(config.policies[1]?.allow, ['/v1/status'])
})

test('a merge key takes over fields, except those that are there', () => {
  const config = good(`${BASE}policy:
  p: &p { allow: [ /v1/status ], deny: [ /v1/api ] }
  q: { <<: *p, deny: [ /v1/metrics ] }
  r: { deny: [ /v1/metrics ], <<: *p }
`)
  for (const policy of config.policies.slice(1)) {
    assert.deepEqual(policy.allow, ['/v1/status'])
    assert.deepEqual(policy.deny, ['/v1/metrics'])
  }
})

test('a merge key takes over fields of several maps, the first first', () => {
  const config = good(`${BASE}policy:
  p: &p { allow: [ /v1/status ] }
  q: &q { allow: [ /v1/api ], deny: [ /v1/ready ] }
  r: { <<: [ *p, *q ] }
`)
  const { allow, deny } = config.policies[2] ?? assert.fail()
  assert.deepEqual([allow, deny], [['/v1/status'], ['/v1/ready']])
})

test('a merge key of something else is an error', () => {
  assert.match(errors(`${BASE}policy: { <<: abc }\n`).join(), /<< needs a map/)
})

test('an alias without an anchor is an error with its place', () => {
  assert.match(errors(`${BASE}policy: *nope\n`).join(), /kes\.yml:4:1: policy: .*\*nope/)
})

test('an alias that contains itself is an error', () => {
  for (const text of ['policy: &a { x: *a }', 'policy: &a [ *a, *a ]', 'policy: &a { <<: *a }'])
    assert.match(errors(`${BASE}${text}\n`).join(), /contains itself/)
})

test('aliases that stand for billions of values are an error, soon', () => {
  const rows = Array.from('bcdefghi', (name, index) => {
    const previous = '*' + 'abcdefghi'.charAt(index)
    return `${name}: &${name} [ ${Array(9).fill(previous).join(', ')} ]`
  })
  assert.match(errors(`a: &a [ x, x, x ]\n${rows.join('\n')}\n`).join(), /too many aliases/)
})

test('a name that is no text is an error', () => {
  for (const name of ['[ a ]', '{ toString: x }', '*a'])
    assert.match(errors(`x: &a y\n? ${name}\n: z\n`).join(), /a name must be a plain text/)
})

test('a field twice is an error with its place', () => {
  assert.match(errors(`${BASE}admin: {}\n`).join(), /^kes\.yml:4:1: /)
})

test('two documents in one file are an error', () => {
  errors(`${BASE}---\n${BASE}`)
})

test('text that is no YAML is an error with its place', () => {
  assert.match(errors('a:\n\t- b\n').join(), /^kes\.yml:2:1: /)
  assert.match(errors('a: [\n').join(), /^kes\.yml:\d+:\d+: /)
})

test('very deep nesting is an error', () => {
  errors('['.repeat(5000))
  errors(`${BASE}policy: ${'{ a: '.repeat(5000)}${'}'.repeat(5000)}`)
})

// Properties

/** Loads or throws a ConfigError, nothing else. */
function survives(text: string, env: Env = {}): readonly string[] {
  try {
    return load(text, { env }).warnings
  } catch (error) {
    assert.ok(error instanceof ConfigError, `${String(error)} for ${JSON.stringify(text)}`)
    return error.findings
  }
}

test('a file of any text loads or is a ConfigError', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => void survives(text)),
    { numRuns: 300 },
  )
})

test('a file of any pieces of YAML loads or is a ConfigError', () => {
  const tokens = [
    'a',
    '"',
    "'",
    ': ',
    '- ',
    '\n',
    '\n  ',
    '[',
    ']',
    '{',
    '}',
    ', ',
    '&a ',
    '*a',
    '? ',
  ]
  const names = [
    '<<',
    'policy',
    'tls',
    'keystore',
    'fs',
    'memory',
    'admin',
    'identity',
    '${A}',
    '~',
  ]
  const token = fc.constantFrom(
    ...tokens,
    ...names,
    '!!int ',
    '!x ',
    '|\n',
    '---\n',
    '#',
    '\\',
    '%',
  )
  fc.assert(
    fc.property(fc.array(token, { maxLength: 30 }), (parts) => void survives(parts.join(''))),
    { numRuns: 500 },
  )
})

test('a config that was changed anywhere loads or is a ConfigError', () => {
  const piece = fc.constantFrom(
    '',
    '\n',
    ' ',
    '- ',
    ': ',
    '[',
    '}',
    '*a',
    '&a ',
    '"',
    'null',
    '<<: ',
  )
  const change = fc.tuple(fc.nat(FULL.length), fc.nat(10), piece)
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
      let text = FULL
      for (const [at, length, put] of changes)
        text = text.slice(0, at) + put + text.slice(at + length)
      survives(text, { MY_APP_IDENTITY: BOB })
    }),
    { numRuns: 300 },
  )
})

test('a config of any values loads or is a ConfigError', () => {
  const section = fc.constantFrom(
    'address',
    'admin',
    'tls',
    'api',
    'policy',
    'cache',
    'log',
    'keys',
    'keystore',
  )
  const value = fc.oneof(
    fc.jsonValue({ maxDepth: 3 }),
    fc.constantFrom({ p: { allow: [null] } }, [{}]),
  )
  fc.assert(
    fc.property(section, value, (name, each) => {
      const text = name === 'keystore' ? HEAD : BASE.replace(new RegExp(`^${name}:.*\n`, 'm'), '')
      survives(`${text}${name}: ${JSON.stringify(each)}\n`)
    }),
    { numRuns: 300 },
  )
})

test('the value of a variable is in no finding', () => {
  const lines = FULL.split('\n')
  const scalars = lines.flatMap((line, index) =>
    /^\s*(?:- |[\w/]+: +)[^{#]+$/.test(line) ? [index] : [],
  )
  assert.ok(scalars.length > 15)
  const secret = fc.oneof(
    fc.stringMatching(/^[a-z]{10,30}$/),
    fc.stringMatching(/^-[0-9]{12}s$/),
    fc.stringMatching(/^kes:v1:[A-Za-z0-9]{44}$/),
    fc.stringMatching(/^[0-9A-F]{64}$/),
  )
  fc.assert(
    fc.property(fc.constantFrom(...scalars), secret, (at, value) => {
      const text = lines
        .map((line, index) =>
          index === at ? line.replace(/(- (?:name: )?|: +).*$/, '$1${SECRET}') : line,
        )
        .join('\n')
      assert.ok(text.includes('${SECRET}'))
      for (const finding of survives(text, { MY_APP_IDENTITY: BOB, SECRET: value }))
        assert.ok(!finding.includes(value), finding)
    }),
    { numRuns: 300 },
  )
})

test('a section that is wrong does not hide what is wrong in another', () => {
  const text = `${BASE}cache: { expiry: { any: soon } }\nkeys: [ { name: a.b } ]\n`
  const [cache = '', key = '', ...more] = errors(text)
  assert.match(cache, /cache\.expiry\.any: not a duration/)
  assert.match(key, /keys\[0\]\.name: not a key name/)
  assert.deepEqual(more, [])
})

test('swapped letters are still recognised', () => {
  const [finding = ''] = errors(`${HEAD}keystore: { fs: { paht: /x } }\n`)
  assert.match(finding, /did you mean keystore\.fs\.path\?/)
})

test('an admin in upper-case digits is a warning, since nobody is that', () => {
  const text = BASE.replace(ADMIN ?? '', (ADMIN ?? '').toUpperCase())
  const { config, warnings } = load(text)
  assert.equal(config.admin, undefined)
  assert.match(warnings[0] ?? '', /admin\.identity: identities have lower-case digits/)
})

describe('the keystore alone', () => {
  const FS = 'keystore: { fs: { path: keys } }\n'

  /** @returns a file with this text, and what is read from it */
  function keyStoreOf(t: TestContext, text: string, options: LoadOptions = {}) {
    const path = join(tempDir(t), 'kes.yml')
    writeFileSync(path, text)
    return loadKeyStoreFile(path, { env: {}, ...options })
  }

  test('is read from a whole config, and from a file with nothing else', (t) => {
    const settings = { path: 'keys' }
    for (const text of [HEAD + FS, FS])
      assert.deepEqual(keyStoreOf(t, text), { keystore: { kind: fs, settings }, warnings: [] })
  })

  test('is read whatever is wrong with the other sections', (t) => {
    const text = `${FS}tls: { key: "\${UNSET}", kee: x }\nadmin: 5\nroot: x\nkeys: [ { name: "-" } ]\n`
    assert.deepEqual(keyStoreOf(t, text).warnings, [])
  })

  test('may have its old spelling, and variables', (t) => {
    const text = 'keys: { fs: { path: "${KEYS}" } }\n'
    const { keystore, warnings } = keyStoreOf(t, text, { env: { KEYS: '/keys' } })
    assert.deepEqual(keystore.settings, { path: '/keys' })
    assert.match(warnings.join(), /kes.yml:1:1: keys: as a map this is an old spelling/)
  })

  test('is checked like in a whole config', (t) => {
    const wrong = {
      'keystore: { fs: { pahh: keys } }': /:1:19: keystore.fs.pahh: unknown field; did you mean/,
      'keystore: { fs: { path: "${UNSET}" } }': /environment variable UNSET is not set/,
      'keystore: { memory: {}, fs: { path: a } }': /more than one keystore is configured/,
      'keystore: { nothing: {} }': /unknown keystore; there are/,
      'tls: {}': /no keystore is configured/,
      'keystore: [': /:1:\d+: /,
      text: /a map of sections is expected/,
    }
    for (const [text, message] of Object.entries(wrong))
      assert.throws(() => keyStoreOf(t, text), { name: 'ConfigError', message }, text)
  })
})
