/** Reads the body of an answer: whole, within bounds. */

import type { HttpAnswer } from './transport.ts'
import { header } from './transport.ts'
import { AnswerError } from './errors.ts'
import { connectionError } from './failures.ts'
import type { Address } from './options.ts'
import { onAbort } from './scope.ts'

/**
 * The bytes of an answer's body.
 *
 * @param limit bytes
 * @param isCut what is beyond the limit is left out, instead of an error
 * @throws AnswerError beyond the limit; ConnectionError when the body did not come whole; the signal's reason
 */
export function readBody(
  answer: HttpAnswer,
  address: Address,
  limit: number,
  signal: AbortSignal,
  isCut = false,
): Promise<Buffer> {
  const { body } = answer
  return new Promise<Buffer>((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    const cut = (error?: unknown) => reject(connectionError(error, address, 'sent'))
    const forget = onAbort(signal, () => {
      reject(signal.reason as Error)
      body.destroy()
    })
    body.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      size += chunk.length
      if (size <= limit) return
      if (isCut) resolve(Buffer.concat(chunks).subarray(0, limit))
      else reject(new AnswerError(address.url, `the answer has more than ${limit} bytes`))
      body.destroy()
    })
    body.on('error', cut)
    body.on('close', () => {
      forget()
      const announced = header(answer, 'content-length')
      if (!answer.isWhole() || (announced !== undefined && Number(announced) !== size)) cut()
      else resolve(Buffer.concat(chunks))
    })
  })
}
