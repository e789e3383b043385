/** Steps in the life of the key `a`, for processes that are killed in the middle of one. */

import type { Deadline } from '#src/deadline.js'
import type { KeyService } from '#src/keys/service.js'

type Step = (keys: KeyService, deadline: Deadline) => Promise<unknown>

const ABOUT = { description: 'text', tags: new Map([['team', 'a']]) }
/** A year from now: whatever was scheduled is due. */
const LATER = 31_536_000

export const LIFE_STEPS = {
  rotate: (keys, deadline) => keys.rotate('a', '', deadline),
  restore: (keys, deadline) => keys.restore('a', '', deadline),
  delete: (keys, deadline) => keys.delete('a', deadline),
  create: (keys, deadline) => keys.create('a', '', deadline, ABOUT),
  destroy: (keys, deadline) =>
    keys.destroy('a', { seconds: Math.floor(Date.now() / 1000) + LATER, nanos: 0 }, deadline),
} as const satisfies Readonly<Record<string, Step>>
