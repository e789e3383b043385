import assert from 'node:assert/strict'
import { STATUS_CODES } from 'node:http'
import { test } from 'node:test'

import { statusText } from '#src/wire/status.js'

/** Of WebDAV and the like: no answer of ours. */
const OTHERS = new Set([207, 208, 226, 305, 418, 425, 506, 507, 508, 509, 510])

test('a status is said as Node’s classes say it', () => {
  for (let status = 200; status < 600; status++) {
    const text = OTHERS.has(status) ? '' : (STATUS_CODES[status] ?? '')
    assert.equal(statusText(status), text, String(status))
  }
})
