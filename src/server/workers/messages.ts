/**
 * What a primary and its workers say to each other (docs/adr/0011), over a channel that nobody else can open. Both ends
 * are the same build of the same program, so nothing is checked.
 */

import type { AddressInfo } from 'node:net'

import { topic } from '../../bus.ts'
import type { LoadOptions } from '../../config/config.ts'
import type { Loaded } from '../../config/load.ts'
import type { Patience } from '../reload.ts'
import type { Changes } from '../serving.ts'

/** A config file as it was read: all workers have the same, whatever happens to the file meanwhile. */
export interface ConfigText {
  readonly text: string
  readonly path: string
  readonly options: LoadOptions
}

/** A checked config, and what it was made from. */
export interface Source extends Loaded {
  readonly file: ConfigText
}

/** What is said to a worker about the bus. */
export type BusToWorker =
  /** Somebody asks everybody; `asker` is 0 for the primary. Wants `handled`. */
  | {
      readonly kind: 'asked'
      readonly id: number
      readonly topic: string
      readonly message: unknown
      readonly asker: number
      /** The asker's own number of it. */
      readonly number: number
    }
  /** What everybody said to an `ask`; `fault` is why a listener failed. */
  | {
      readonly kind: 'answered'
      readonly number: number
      readonly answers: readonly unknown[]
      readonly fault: string | undefined
    }
  | { readonly kind: 'published'; readonly topic: string; readonly message: unknown }
  /** You are the first one now. */
  | { readonly kind: 'first' }

export type ToWorker =
  | BusToWorker
  /** Open everything but the port. */
  | {
      readonly kind: 'start'
      readonly file: ConfigText
      readonly startedAt: number
      readonly patience: Patience
      /** Keys of the config were made before. */
      readonly leavesKeys: boolean
      readonly epoch: number
    }
  /** Then serve. */
  | {
      readonly kind: 'listen'
      /** Made over the API before; absent when there is nobody who would know of any. */
      readonly changes: Changes | undefined
      readonly ticketKeys: Uint8Array
    }
  | { readonly kind: 'stored'; readonly number: number; readonly outcome: StoreOutcome }
  /** Let running requests end, and say so. */
  | { readonly kind: 'stop' }
  /** End, now that all have stopped: Node's cluster loses a connection that is on its way to a process that ends. */
  | { readonly kind: 'leave' }

export type BusFromWorker =
  | {
      readonly kind: 'ask'
      readonly number: number
      readonly topic: string
      readonly message: unknown
    }
  | { readonly kind: 'publish'; readonly topic: string; readonly message: unknown }
  | {
      readonly kind: 'handled'
      readonly id: number
      readonly answers: readonly unknown[]
      readonly fault: string | undefined
    }

/** About its start. */
export type Progress =
  /** It listens to the primary; whatever was said before, it has not heard. */
  | { readonly kind: 'ready' }
  | { readonly kind: 'opened'; readonly fingerprint: string }
  | {
      readonly kind: 'listening'
      readonly address: AddressInfo
      /** In the worker that has it. */
      readonly rustfsAddress: AddressInfo | undefined
    }
  /** It has failed. */
  | {
      readonly kind: 'failed'
      readonly message: string
      /** As Node's errors have it. */
      readonly code: string | undefined
      readonly port: number | undefined
    }

/** What a worker says while it serves. */
export type Business =
  BusFromWorker | { readonly kind: 'store'; readonly number: number; readonly call: StoreCall }

/** No request runs any more, and none will. */
export interface Stopped {
  readonly kind: 'stopped'
}

export type FromWorker = Progress | Business | Stopped

/** A call on a keystore that is in the primary's memory. */
export interface StoreCall {
  /** Which one: each that is opened has another number. */
  readonly epoch: number
  readonly method: 'status' | 'create' | 'get' | 'delete' | 'list'
  readonly args: readonly unknown[]
}

/** `code` is a KesError's. */
export type StoreOutcome =
  { readonly value: unknown } | { readonly code: string | undefined; readonly message: string }

/** What the primary asks of all workers: the same steps as in a server of one process, but all of them together. */
export interface StageOrder {
  /** Absent: the certificate files as they are now. */
  readonly file: ConfigText | undefined
  readonly epoch: number
}

/** What the files that were read look like, or why it cannot be used. */
export type StageAnswer = { readonly fingerprint: string } | { readonly reasons: readonly string[] }

export const STAGE = topic<StageOrder, Promise<StageAnswer>>('worker:stage')
export const USE = topic<{ readonly ticketKeys: Uint8Array }>('worker:use')
export const DISCARD = topic<void, Promise<void>>('worker:discard')
export const TICKET_KEYS = topic<Uint8Array>('worker:ticket-keys')
export const CHANGES = topic<void, Changes>('worker:changes')
