/** The implementation of HTTP that the config names. Node's classes are loaded only where they are used: a start is mostly loading. */

import { LeanStack, PlainLeanStack } from './lean.ts'
import type { PlainStack, SecuredStack, StackOptions } from './stack.ts'

export interface Stacks {
  readonly Secured: new (options: StackOptions) => SecuredStack
  /** Without TLS. */
  readonly Plain: new (options: Omit<StackOptions, 'tls'>) => PlainStack
}

export async function stacksOf(http: 'node' | 'lean'): Promise<Stacks> {
  if (http === 'lean') return { Secured: LeanStack, Plain: PlainLeanStack }
  const { NodeStack, PlainNodeStack } = await import('./node.ts')
  return { Secured: NodeStack, Plain: PlainNodeStack }
}
