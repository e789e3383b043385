/** Inputs that are nearly right: kept ones, changed at random. The same seed makes the same inputs. */

import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Inputs per target. */
export const RUNS = Number(process.env['KES_FUZZ_RUNS'] ?? 5000)
/** Of the tests always the same one; `npm run fuzz` takes another each time. */
export const SEED = Number(process.env['KES_FUZZ_SEED'] ?? 1)

const CORPUS = new URL('../../../test/wire/corpus', import.meta.url).pathname
/** What length fields, sizes and parsers are sensitive to. */
const INTERESTING = [0, 1, 9, 10, 13, 32, 58, 59, 127, 128, 255]

export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = Math.imul(seed, 2_654_435_761) | 1
  }

  /** From 0, below `limit`. */
  below(limit: number): number {
    let state = this.#state
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    this.#state = state
    return (state >>> 0) % limit
  }

  pick<T>(list: readonly T[]): T {
    const picked = list[this.below(list.length)]
    if (picked === undefined) throw new Error('nothing to pick from')
    return picked
  }

  chance(oneIn: number): boolean {
    return this.below(oneIn) === 0
  }
}

/** The kept inputs of a target: one file each, in hexadecimal. */
export function corpus(target: string): Buffer[] {
  const directory = join(CORPUS, target)
  return readdirSync(directory)
    .toSorted()
    .map((name) =>
      Buffer.from(readFileSync(join(directory, name), 'utf8').replaceAll(/\s/g, ''), 'hex'),
    )
}

/** Keeps an input that was answered wrongly, so that it is tried first from then on. @returns its name */
export function keep(target: string, input: Buffer): string {
  const name = `${createHash('sha256').update(input).digest('hex').slice(0, 16)}.hex`
  mkdirSync(join(CORPUS, target), { recursive: true })
  writeFileSync(
    join(CORPUS, target, name),
    `${(input.toString('hex').match(/.{1,100}/g) ?? []).join('\n')}\n`,
  )
  return name
}

/** Some changes of an input's bytes. */
export function mutate(random: Random, input: Buffer, others: readonly Buffer[]): Buffer {
  let bytes = Buffer.from(input)
  for (let changes = 1 + random.below(6); changes > 0; changes--) {
    const at = random.below(bytes.length + 1)
    const length = 1 + random.below(1 + Math.min(40, bytes.length))
    switch (random.below(8)) {
      case 0:
        if (at < bytes.length) bytes[at] = (bytes[at] as number) ^ (1 << random.below(8))
        break
      case 1:
        if (at < bytes.length) bytes[at] = random.pick(INTERESTING)
        break
      case 2:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)])
        break
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, at + length), bytes.subarray(at)])
        break
      case 4: {
        const other = random.pick(others)
        const from = random.below(other.length + 1)
        bytes = Buffer.concat([
          bytes.subarray(0, at),
          other.subarray(from, from + length),
          bytes.subarray(at),
        ])
        break
      }
      case 5:
        bytes = Buffer.concat([
          bytes.subarray(0, at),
          Buffer.of(random.pick(INTERESTING)),
          bytes.subarray(at),
        ])
        break
      case 6:
        bytes = Buffer.concat([
          bytes.subarray(0, at),
          random.pick(others).subarray(random.below(50)),
        ])
        break
      default:
        if (at < bytes.length) bytes[at] = random.below(256)
    }
  }
  return bytes.subarray(0, 40_000)
}

/** Cuts an input into pieces. */
export function pieces(random: Random, input: Buffer): Buffer[] {
  const cut: Buffer[] = []
  const most = random.pick([1, 3, 20, 300])
  for (let at = 0; at < input.length;) {
    const end = at + 1 + random.below(most)
    cut.push(input.subarray(at, end))
    at = end
  }
  return cut
}

/**
 * Tries the corpus of a target, then RUNS changed inputs.
 *
 * @param check throws when an input is treated wrongly; the input is kept then
 */
export async function fuzz(
  target: string,
  change: (random: Random, input: Buffer, others: readonly Buffer[]) => Buffer,
  check: (input: Buffer, random: Random) => void | Promise<void>,
): Promise<void> {
  const kept = corpus(target)
  const random = new Random(SEED)
  const attempt = async (input: Buffer): Promise<void> => {
    try {
      await check(input, random)
    } catch (error) {
      throw new Error(`kept as test/wire/corpus/${target}/${keep(target, input)}`, { cause: error })
    }
  }
  for (const input of kept) await attempt(input)
  for (let run = 0; run < RUNS; run++) await attempt(change(random, random.pick(kept), kept))
}
