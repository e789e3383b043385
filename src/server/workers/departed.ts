/** What workers that are gone had counted: a counter that a scrape has seen never goes back. */

import { counts, type Figures, sumOf } from '../../telemetry/figures.ts'

export class Departed {
  /** By worker, of the last scrape. */
  readonly #last = new Map<number, Figures>()
  #sum: Promise<Figures> = Promise.resolve([])

  /** @param answers of the workers to a scrape. @returns what is to be added up for it */
  async withThem(answers: ReadonlyMap<number, readonly Figures[]>): Promise<Figures[]> {
    for (const [id, [figures]] of answers) if (figures !== undefined) this.#last.set(id, figures)
    // Also of one that died while it was asked.
    const last = [...this.#last.values()]
    return [...last, await this.#sum]
  }

  /** A worker has ended. */
  left(id: number): void {
    const last = this.#last.get(id)
    this.#last.delete(id)
    if (last === undefined) return
    this.#sum = this.#sum.then((sum) => sumOf([sum, counts(last)]))
  }
}
