/** HPACK against the examples of RFC 7541, appendix C, and against itself. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { type Field, MALFORMED } from '#src/wire/field.js'
import { HpackDecoder } from '#src/wire/hpack-decoder.js'
import { HpackEncoder, PreparedField, writeInteger } from '#src/wire/hpack-encoder.js'
import { decodeHuffman, encodeHuffman, huffmanLength } from '#src/wire/huffman.js'

function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(/\s/g, ''), 'hex')
}

function decode(decoder: HpackDecoder, block: Buffer): string[] | undefined {
  return decoder.decode(block, 0, block.length)?.map(({ name, value }) => `${name}: ${value}`)
}

function encode(encoder: HpackEncoder, fields: readonly PreparedField[]): Buffer {
  const target = Buffer.alloc(65_536)
  let at = encoder.begin(target, 0)
  for (const field of fields) at = encoder.write(field, target, at)
  return target.subarray(0, at)
}

test('C.1: integers', () => {
  const target = Buffer.alloc(8)
  for (const [value, prefix, bytes] of [
    [10, 5, '0a'],
    [1337, 5, '1f9a0a'],
    [42, 8, '2a'],
  ] as const) {
    assert.equal(
      target.subarray(0, writeInteger(target, 0, value, prefix, 0)).toString('hex'),
      bytes,
    )
  }
})

test('C.2: one field in each way', () => {
  const decoder = (): HpackDecoder => new HpackDecoder(4096, 16_384)
  assert.deepEqual(
    decode(decoder(), hex('400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572')),
    ['custom-key: custom-header'],
  )
  assert.deepEqual(decode(decoder(), hex('040c 2f73 616d 706c 652f 7061 7468')), [
    ':path: /sample/path',
  ])
  assert.deepEqual(decode(decoder(), hex('1008 7061 7373 776f 7264 0673 6563 7265 74')), [
    'password: secret',
  ])
  assert.deepEqual(decode(decoder(), hex('82')), [':method: GET'])
})

const FIRST = [':method: GET', ':scheme: http', ':path: /', ':authority: www.example.com']
const REQUESTS = [
  FIRST,
  [...FIRST, 'cache-control: no-cache'],
  [
    ':method: GET',
    ':scheme: https',
    ':path: /index.html',
    ':authority: www.example.com',
    'custom-key: custom-value',
  ],
]

test('C.3: three requests on one connection, without Huffman code', () => {
  const decoder = new HpackDecoder(4096, 16_384)
  const blocks = [
    '8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
    '8286 84be 5808 6e6f 2d63 6163 6865',
    '8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65',
  ]
  for (const [index, block] of blocks.entries())
    assert.deepEqual(decode(decoder, hex(block)), REQUESTS[index])
})

const HUFFMAN_REQUESTS = [
  '8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff',
  '8286 84be 5886 a8eb 1064 9cbf',
  '8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf',
]

test('C.4: the same with Huffman code', () => {
  const decoder = new HpackDecoder(4096, 16_384)
  for (const [index, block] of HUFFMAN_REQUESTS.entries()) {
    assert.deepEqual(decode(decoder, hex(block)), REQUESTS[index])
  }
})

const DATE = 'date: Mon, 21 Oct 2013 20:13:21 GMT'
const LOCATION = 'location: https://www.example.com'
const ANSWERS = [
  [':status: 302', 'cache-control: private', DATE, LOCATION],
  [':status: 307', 'cache-control: private', DATE, LOCATION],
  [
    ':status: 200',
    'cache-control: private',
    'date: Mon, 21 Oct 2013 20:13:22 GMT',
    LOCATION,
    'content-encoding: gzip',
    'set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1',
  ],
]

test('C.5: three answers, in a table of 256 bytes that lets fields go', () => {
  const decoder = new HpackDecoder(256, 16_384)
  const blocks = [
    '4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
    '4803 3330 37c1 c0bf',
    '88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31',
  ]
  for (const [index, block] of blocks.entries())
    assert.deepEqual(decode(decoder, hex(block)), ANSWERS[index])
})

const HUFFMAN_ANSWERS = [
  '4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3',
  '4883 640e ffc1 c0bf',
  '88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07',
]

test('C.6: the same with Huffman code, read and written', () => {
  const decoder = new HpackDecoder(256, 16_384)
  const encoder = new HpackEncoder(256)
  const known = new Map<string, PreparedField>()
  const prepare = (line: string): PreparedField => {
    const [name = '', value = ''] = line.split(/(?<=.): /)
    const field = known.get(line) ?? new PreparedField(name, value, true)
    known.set(line, field)
    return field
  }
  for (const [index, block] of HUFFMAN_ANSWERS.entries()) {
    assert.deepEqual(decode(decoder, hex(block)), ANSWERS[index])
    const fields = (ANSWERS[index] ?? []).map(prepare)
    assert.equal(encode(encoder, fields).toString('hex'), hex(block).toString('hex'))
  }
})

test('C.4 is what our Huffman code makes of those strings', () => {
  for (const [text, code] of [
    ['www.example.com', 'f1e3c2e5f23a6ba0ab90f4ff'],
    ['no-cache', 'a8eb10649cbf'],
    ['custom-key', '25a849e95ba97d7f'],
    ['custom-value', '25a849e95bb8e8b4bf'],
  ] as const) {
    const target = Buffer.alloc(64)
    assert.equal(target.subarray(0, encodeHuffman(text, target, 0)).toString('hex'), code)
    assert.equal(huffmanLength(text), code.length / 2)
  }
})

const latin1 = fc
  .uint8Array({ maxLength: 300 })
  .map((bytes) => Buffer.from(bytes).toString('latin1'))

test('any bytes come back through the Huffman code', () => {
  fc.assert(
    fc.property(latin1, (text) => {
      const target = Buffer.alloc(4 * text.length + 8)
      const end = encodeHuffman(text, target, 0)
      assert.equal(end, huffmanLength(text))
      assert.equal(decodeHuffman(target, 0, end), text)
    }),
  )
})

test('Huffman code with an end of string, too much padding or zeros as padding is refused', () => {
  for (const code of ['ffffffff', 'fffffffc', 'ff', '1fff', '18', 'f1e3c2e5f23a6ba0ab90f4fe']) {
    assert.equal(decodeHuffman(hex(code), 0, code.length / 2), undefined, code)
  }
  assert.equal(decodeHuffman(hex('1f'), 0, 1), 'a')
})

/** Names and values as clients may send them. */
const token = fc.stringMatching(/^[a-z0-9!#$%&'*+.^_`|~-]{1,40}$/)
const value = fc.stringMatching(/^(?:[!-~](?:[ -~]{0,60}[!-~])?)?$/)

test('what the encoder writes, the decoder reads, whatever the tables’ sizes', () => {
  const line = fc.tuple(token, value, fc.boolean())
  const blocks = fc.array(
    fc.record({
      fields: fc.array(fc.oneof(fc.nat(7), line), { maxLength: 12 }),
      allow: fc.option(fc.array(fc.nat(5000), { minLength: 1, maxLength: 3 })),
    }),
    { maxLength: 12 },
  )
  const repeated = Array.from(
    { length: 8 },
    (_, i) => [`x-${i}`, 'v'.repeat(i * 40), true] as const,
  )
  const prepared = repeated.map(([name, text]) => new PreparedField(name, text, true))
  fc.assert(
    fc.property(blocks, fc.nat(4096), (all, limit) => {
      const encoder = new HpackEncoder(limit)
      const decoder = new HpackDecoder(limit, 1_000_000)
      for (const { fields, allow } of all) {
        for (const size of allow ?? []) encoder.allow(size)
        const lines = fields.map((field) => (typeof field === 'number' ? repeated[field] : field))
        const block = encode(
          encoder,
          fields.map((field) =>
            typeof field === 'number'
              ? (prepared[field] as PreparedField)
              : new PreparedField(...field),
          ),
        )
        assert.deepEqual(
          decode(decoder, block),
          lines.map((one) => `${one?.[0]}: ${one?.[1]}`),
        )
      }
    }),
  )
})

test('any bytes are a header block or are refused, and what is kept stays within the limit', () => {
  const block = fc.oneof(
    fc.uint8Array({ maxLength: 400 }),
    fc
      .array(fc.constantFrom(...HUFFMAN_REQUESTS, ...HUFFMAN_ANSWERS, '3fe11f', '20', 'be', 'bf'))
      .map((parts) => hex(parts.join(''))),
  )
  fc.assert(
    fc.property(fc.array(block, { maxLength: 8 }), (blocks) => {
      const decoder = new HpackDecoder(256, 500)
      for (const bytes of blocks) {
        const fields = decoder.decode(Buffer.from(bytes), 0, bytes.length)
        if (fields === undefined) return
        const size = fields.reduce((sum, field) => sum + field.size, 0)
        assert.ok(size <= 500)
      }
    }),
    { numRuns: 2000 },
  )
})

test('a bomb of references to a large field is read in no time, and not kept', () => {
  const decoder = new HpackDecoder(4096, 16_384)
  const large = Buffer.concat([hex('400178 7f9d1e'), Buffer.alloc(3996, 'a')])
  const bomb = Buffer.concat([large, Buffer.alloc(28_000, 0xbe)])
  const fields = decoder.decode(bomb, 0, bomb.length)
  assert.ok(decoder.isTooLarge)
  assert.equal(fields?.length, 4)
})

const FAULTS: Readonly<Record<string, string>> = {
  'index 0': '80',
  'an index beyond both tables': 'be',
  'an index that has no end': 'ff80808080',
  'an index that is too large': 'ffffffffff7f',
  'a string that is cut off': '4003 6162',
  'a string without a length': '40',
  'a name without a value': '4001 61',
  'a length that has no end': '407f80',
  'a table size beyond ours': '3fe21f',
  'a table size after a field': '8220',
  'Huffman code that is none': '0082ffff0161',
}
for (const [what, block] of Object.entries(FAULTS)) {
  test(`${what} is a compression error`, () => {
    assert.equal(new HpackDecoder(4096, 16_384).decode(hex(block), 0, hex(block).length), undefined)
  })
}

test('what is malformed is known at first sight, and stays so in the table', () => {
  const kinds = (block: string): number[] => {
    const all = decoder.decode(hex(block), 0, hex(block).length) as Field[]
    return all.map(({ kind }) => kind)
  }
  const decoder = new HpackDecoder(4096, 16_384)
  // x: "a\r\nb", then the same from the table.
  assert.deepEqual(kinds('4001 78 04 610d0a62'), [MALFORMED])
  assert.deepEqual(kinds('be'), [MALFORMED])
})
