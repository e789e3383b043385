/** Puts entries into the target of a migration, and obeys what was said about those that it has with another value. */

import { KeyStoreError } from '../../keystore/keystore.ts'
import { isSame, type PatientStore } from '../patient.ts'

export type Action = 'copied' | 'overwritten' | 'skipped'

export interface BringOptions {
  /** An entry that the target has with another value is an error, stays as it is, or is replaced. */
  readonly onConflict: 'fail' | 'keep' | 'overwrite'
  /** Nothing is changed. */
  readonly isDryRun: boolean
}

/** Why an entry is not copied that could have been. */
export class RefusalError extends Error {
  override readonly name = 'RefusalError'
}

/** All methods throw KeyStoreError and RefusalError. */
export class Bringer {
  /** Why no more entries should be begun. */
  trouble: string | undefined
  readonly #target: PatientStore
  readonly #options: BringOptions
  #firstOverwrite: Promise<void> | undefined

  constructor(target: PatientStore, options: BringOptions) {
    this.#target = target
    this.#options = options
  }

  /** @param wasThere when the target was listed */
  async bring(name: string, value: Uint8Array, wasThere: boolean): Promise<Action> {
    const { onConflict, isDryRun } = this.#options
    let theirs = wasThere ? await this.#target.read(name) : undefined
    if (theirs === undefined) {
      if (isDryRun || (await this.#target.make(name, value))) return 'copied'
      theirs = await this.#target.read(name)
    }
    if (theirs === undefined) throw new RefusalError(RACE)
    try {
      if (isSame(value, theirs)) return wasThere ? 'skipped' : 'copied'
      if (onConflict === 'fail') throw new RefusalError(OTHER_VALUE)
      if (onConflict === 'keep') return 'skipped'
      const old = theirs
      if (!isDryRun) await this.inTurn(() => this.replace(name, value, old))
      return 'overwritten'
    } finally {
      theirs.fill(0)
    }
  }

  /** The first alone: a target that deletes but does not create must not cost more than one entry. */
  async inTurn(overwrite: () => Promise<void>): Promise<void> {
    if (this.#firstOverwrite === undefined) {
      const first = overwrite()
      this.#firstOverwrite = first.catch(() => {})
      return first
    }
    await this.#firstOverwrite
    if (this.trouble !== undefined)
      throw new RefusalError('another entry could not be overwritten; this one is as it was')
    await overwrite()
  }

  /**
   * Keystores cannot replace: the entry is deleted and made. A crash in between leaves none, and the next run copies
   * it. When it cannot be made, the old value is put back, and no other entry is overwritten.
   */
  async replace(name: string, value: Uint8Array, theirs: Uint8Array): Promise<void> {
    try {
      await this.#target.remove(name)
      await this.makeAnew(name, value)
    } catch (error) {
      if (!(error instanceof KeyStoreError)) throw error
      const isBack = await this.#target.make(name, theirs).catch(() => undefined)
      if (isBack === undefined) throw this.lost(error)
      this.trouble ??= error.message
      const fate = isBack ? 'its old value was put back' : 'the target still has a value'
      throw new RefusalError(`it could not be overwritten (${error.message}): ${fate}`)
    }
  }

  /** Makes an entry that was just deleted. The answer to a try of ours may have been lost. */
  async makeAnew(name: string, value: Uint8Array): Promise<void> {
    if (await this.#target.make(name, value)) return
    if ((await this.#target.compare(name, value)) !== 'same')
      throw new RefusalError('somebody else made it anew in the target while it was overwritten')
  }

  /** The target does not have it any more, as far as we know: nothing else is overwritten. */
  lost({ message }: KeyStoreError): RefusalError {
    this.trouble ??= message
    const fate = 'the target may have lost it; the source has it: run this again'
    return new RefusalError(`it could not be overwritten (${message}): ${fate}`)
  }
}

export const OTHER_VALUE = 'the target has it with another value'
export const RACE = 'somebody else makes and deletes it in the target: run this again'
