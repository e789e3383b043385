/** What a client's SETTINGS frame says (RFC 9113, 6.5), as far as it is of use to us. */

import {
  FLOW_CONTROL_ERROR,
  FRAME_SIZE_ERROR,
  LARGEST,
  PROTOCOL_ERROR,
  readUint32,
  SETTINGS_ENABLE_PUSH,
  SETTINGS_HEADER_TABLE_SIZE,
  SETTINGS_INITIAL_WINDOW_SIZE,
  SETTINGS_MAX_FRAME_SIZE,
} from './http2-frames.ts'

export interface Settings {
  /** The last, and the smallest on the way there: the encoder must tell of both. */
  headerTableSize?: { readonly smallest: number; readonly last: number }
  /** The last. */
  initialWindow?: number
}

/** @returns the error that ends the connection instead, when there is one */
export function readSettings(data: Buffer, start: number, end: number): Settings | number {
  if ((end - start) % 6 !== 0) return FRAME_SIZE_ERROR
  const settings: Settings = {}
  for (let at = start; at < end; at += 6) {
    const value = readUint32(data, at + 2)
    switch (((data[at] as number) << 8) | (data[at + 1] as number)) {
      case SETTINGS_HEADER_TABLE_SIZE:
        settings.headerTableSize = {
          smallest: Math.min(value, settings.headerTableSize?.smallest ?? value),
          last: value,
        }
        break
      case SETTINGS_ENABLE_PUSH:
        if (value > 1) return PROTOCOL_ERROR
        break
      case SETTINGS_INITIAL_WINDOW_SIZE:
        if (value > LARGEST) return FLOW_CONTROL_ERROR
        settings.initialWindow = value
        break
      case SETTINGS_MAX_FRAME_SIZE:
        // Our frames are no larger than what every client takes.
        if (value < 16_384 || value > 16_777_215) return PROTOCOL_ERROR
        break
      default:
    }
  }
  return settings
}
