/** Every limit of the framing, in one place: what a client may ask of one connection, and for how long. */

/** Bytes of a request's head; over HTTP/2 as RFC 9113, 6.5.2 counts it. */
export const HEADER_LIMIT = 16_384
/** Bytes of a request's head as HPACK, all its frames together. */
export const HEADER_BLOCK_LIMIT = 32_768
/** Frames of one head beyond the first. */
export const CONTINUATION_LIMIT = 16
/** Of HPACK's dynamic table, each way: the default of RFC 9113. */
export const HEADER_TABLE_SIZE = 4096

/** As Go's server; clients open another connection beyond it. */
export const STREAM_LIMIT = 250
/** Payload of a frame, each way: the default, and the least that a peer may ask for. */
export const FRAME_LIMIT = 16_384
/** Bytes that may come on a new stream before we ask for more: the default. */
export const STREAM_WINDOW = 65_535
/** Bytes that may come on a connection before we ask for more. */
export const CONNECTION_WINDOW = 1_048_576
/** Bytes of large bodies that are let in at a time, per connection; each other stream may have its first window. */
export const BODY_BUDGET = 16_777_216
/** What is left of a refused body is read and dropped, up to so many bytes and for so many milliseconds. */
export const DROP_LIMIT = 16_777_216
export const DROP_TIME = 3000

/** Bytes of answers that wait for a client's window: new streams are refused beyond it. */
export const PENDING_LIMIT = 4_194_304
/** Bytes that wait in a socket: nothing more is read from it beyond them. */
export const SOCKET_LIMIT = 262_144
/** Bytes of an answer that goes on, beyond which whoever makes it waits. Not less than Node's streams have. */
export const AHEAD_LIMIT = 65_536
/** Bytes of HTTP/1.1 requests that wait for the answer to an earlier one. */
export const PIPELINE_LIMIT = 65_536

/** Bytes of one line of a chunked body: the chunk's size and its extensions. */
export const CHUNK_LINE_LIMIT = 256
/** Bytes of all chunk extensions of one body. */
export const CHUNK_EXTENSION_LIMIT = 4096
/** Bytes of trailers, which are read and dropped. */
export const TRAILER_LIMIT = 4096

/** A budget of frames: so many at once, and so many more each second. */
export interface Allowance {
  readonly burst: number
  readonly perSecond: number
}

/** Streams that end in RST_STREAM, by the client or because of a fault of its own (rapid reset). */
export const RESETS: Allowance = { burst: 500, perSecond: 100 }
export const PINGS: Allowance = { burst: 100, perSecond: 10 }
export const SETTINGS_FRAMES: Allowance = { burst: 20, perSecond: 1 }
/** Frames without use: empty DATA, PRIORITY, unknown types. */
export const IDLE_FRAMES: Allowance = { burst: 500, perSecond: 50 }
export const WINDOW_UPDATES: Allowance = { burst: 10_000, perSecond: 10_000 }

/** Milliseconds for a TLS handshake. */
export const HANDSHAKE_TIMEOUT = 10_000
/** Milliseconds from the end of the handshake to the first whole head, and from a head's first byte to its last. */
export const HEAD_TIMEOUT = 10_000
/** Milliseconds for a whole HTTP/1.1 request. */
export const REQUEST_TIMEOUT = 60_000
/** Milliseconds without a request. Longer than the 90 s after which Go's clients drop an idle connection: they shall be first. */
export const IDLE_TIMEOUT = 120_000
/** Bytes that a client must take in so many milliseconds while a whole answer waits for it. */
export const STALL_BYTES = 16_384
export const STALL_TIMEOUT = 30_000
/** Milliseconds that a client has to answer the PING of an orderly end. */
export const GOAWAY_TIMEOUT = 1000
/** Milliseconds that a client may take to end its side of a connection that we have ended. */
export const LINGER = 1200
