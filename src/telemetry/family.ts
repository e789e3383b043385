/** What prom-client's registry asks of a metric: its figures at the moment of the scrape. */

import type { Aggregator, Sample } from './figures.ts'

export class Family {
  readonly name: string
  readonly help: string
  readonly type: 'gauge' | 'counter' | 'histogram'
  /** How the figures of several processes become one. */
  readonly aggregator: Aggregator
  readonly #read: () => number | Sample[]

  constructor(
    type: Family['type'],
    name: string,
    help: string,
    read: () => number | Sample[],
    aggregator: Aggregator = 'sum',
  ) {
    this.type = type
    this.aggregator = aggregator
    this.name = name
    this.help = help
    this.#read = read
  }

  async get(): Promise<object> {
    const figures = this.#read()
    const values = typeof figures === 'number' ? [{ labels: {}, value: figures }] : figures
    return {
      name: this.name,
      help: this.help,
      type: this.type,
      aggregator: this.aggregator,
      values,
    }
  }

  /** A registry that is reset keeps our counts: they are not its own. */
  reset(): void {}
}
