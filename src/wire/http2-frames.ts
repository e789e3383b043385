/** The frames of HTTP/2 (RFC 9113, 6): their names, and the small ones as bytes. */

import type { Output } from './output.ts'

export const DATA = 0
export const HEADERS = 1
export const PRIORITY = 2
export const RST_STREAM = 3
export const SETTINGS = 4
export const PUSH_PROMISE = 5
export const PING = 6
export const GOAWAY = 7
export const WINDOW_UPDATE = 8
export const CONTINUATION = 9

export const END_STREAM = 0x1
export const ACK = 0x1
export const END_HEADERS = 0x4
export const PADDED = 0x8
export const HAS_PRIORITY = 0x20

export const SETTINGS_HEADER_TABLE_SIZE = 1
export const SETTINGS_ENABLE_PUSH = 2
export const SETTINGS_MAX_CONCURRENT_STREAMS = 3
export const SETTINGS_INITIAL_WINDOW_SIZE = 4
export const SETTINGS_MAX_FRAME_SIZE = 5
export const SETTINGS_MAX_HEADER_LIST_SIZE = 6

export const NO_ERROR = 0
export const PROTOCOL_ERROR = 1
export const FLOW_CONTROL_ERROR = 3
export const STREAM_CLOSED = 5
export const FRAME_SIZE_ERROR = 6
export const REFUSED_STREAM = 7
export const COMPRESSION_ERROR = 9
export const ENHANCE_YOUR_CALM = 11

export const FRAME_HEAD = 9
/** The largest window, and the largest stream. */
export const LARGEST = 0x7fffffff

export function readUint32(data: Buffer, at: number): number {
  return (
    (((data[at] as number) << 24) |
      ((data[at + 1] as number) << 16) |
      ((data[at + 2] as number) << 8) |
      (data[at + 3] as number)) >>>
    0
  )
}

export function writeUint32(target: Buffer, at: number, value: number): void {
  target[at] = value >>> 24
  target[at + 1] = value >>> 16
  target[at + 2] = value >>> 8
  target[at + 3] = value
}

export function writeFrameHead(
  target: Buffer,
  at: number,
  length: number,
  type: number,
  flags: number,
  stream: number,
): void {
  target[at] = length >>> 16
  target[at + 1] = length >>> 8
  target[at + 2] = length
  target[at + 3] = type
  target[at + 4] = flags
  writeUint32(target, at + 5, stream)
}

/** A frame whose payload is 32-bit numbers. */
export function sendNumbers(
  output: Output,
  type: number,
  stream: number,
  numbers: readonly number[],
): void {
  const at = output.reserve(FRAME_HEAD + 4 * numbers.length)
  writeFrameHead(output.buffer, at, 4 * numbers.length, type, 0, stream)
  for (let i = 0; i < numbers.length; i++) {
    writeUint32(output.buffer, at + FRAME_HEAD + 4 * i, numbers[i] as number)
  }
  output.length = at + FRAME_HEAD + 4 * numbers.length
}

/** A frame whose payload is given. */
export function sendBytes(output: Output, type: number, flags: number, payload: Buffer): void {
  const at = output.reserve(FRAME_HEAD + payload.length)
  writeFrameHead(output.buffer, at, payload.length, type, flags, 0)
  payload.copy(output.buffer, at + FRAME_HEAD)
  output.length = at + FRAME_HEAD + payload.length
}

/** @param settings pairs of identifier and value */
export function sendSettings(
  output: Output,
  settings: readonly (readonly [id: number, value: number])[],
): void {
  const payload = Buffer.alloc(6 * settings.length)
  for (const [index, [id, value]] of settings.entries()) {
    payload.writeUInt16BE(id, 6 * index)
    payload.writeUInt32BE(value, 6 * index + 2)
  }
  sendBytes(output, SETTINGS, 0, payload)
}
