/** The implementation of HTTP that the config names. Node's classes are loaded only where they are used: a start is mostly loading. */

import type { Server as NetServer } from 'node:net'

import { LeanStack, PlainLeanStack } from './lean.ts'
import type { Stack, StackOptions } from './stack.ts'

export interface Stacks {
  readonly Secured: new (options: StackOptions) => Stack
  /** Without TLS. */
  readonly Plain: new (options: Omit<StackOptions, 'tls'>) => Stack<NetServer>
}

export async function stacksOf(http: 'node' | 'lean'): Promise<Stacks> {
  if (http === 'lean') return { Secured: LeanStack, Plain: PlainLeanStack }
  const { NodeStack, PlainNodeStack } = await import('./node.ts')
  return { Secured: NodeStack, Plain: PlainNodeStack }
}
