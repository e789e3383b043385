/**
 * One HTTP/2 connection of a client (RFC 9113). Strict where the RFC allows it; no push, no upgrade, no priorities,
 * no extensions. Whatever a client can ask for without end has a budget in limits.ts.
 */

import type { Field } from './field.ts'
import { ClosedStreams } from './http2-closed.ts'
import { Drops } from './http2-drops.ts'
import * as h2 from './http2-frames.ts'
import { type Head, HeadReader } from './http2-heads.ts'
import { Inflow } from './http2-inflow.ts'
import { Outflow } from './http2-outflow.ts'
import { FrameReader, type FrameSink } from './http2-reader.ts'
import { areTrailers, requestOf } from './http2-request.ts'
import { type Settings, readSettings } from './http2-settings.ts'
import { Http2Stream } from './http2-stream.ts'
import * as limits from './limits.ts'
import type { Socket } from './output.ts'
import { Protocol } from './protocol.ts'
import { Budget } from './rate.ts'
import type { Serve } from './request.ts'

/** What we send to learn that the client has seen our GOAWAY. */
const GOAWAY_PING = Buffer.from('go away!', 'latin1')
const NO_DATA = Buffer.alloc(0)

export class Http2Session extends Protocol implements FrameSink {
  readonly inflow = new Inflow(this.output)
  readonly outflow = new Outflow(this.output)
  /** The answer is whole, so the client needs to send no more (RFC 9113, 8.1). */
  readonly drops = new Drops(this.inflow, (stream) => this.#reset(stream.id, h2.NO_ERROR))
  readonly #serve: Serve
  readonly #reader = new FrameReader(this)
  readonly #heads = new HeadReader()
  readonly #streams = new Map<number, Http2Stream>()
  readonly #ended = new ClosedStreams()
  readonly #startedAt = performance.now()
  #hasSettings = false
  /** The last stream that the client has opened, and the last that we take. */
  #last = 0
  #lastTaken = h2.LARGEST
  /** When the client was told that no more is taken. */
  #drainedAt = 0

  readonly #resets = new Budget(limits.RESETS)
  readonly #pings = new Budget(limits.PINGS)
  readonly #settingsFrames = new Budget(limits.SETTINGS_FRAMES)
  readonly #idleFrames = new Budget(limits.IDLE_FRAMES)
  readonly #windowUpdates = new Budget(limits.WINDOW_UPDATES)

  constructor(socket: Socket, serve: Serve) {
    super(socket)
    this.#serve = serve
    h2.sendSettings(this.output, [
      [h2.SETTINGS_HEADER_TABLE_SIZE, limits.HEADER_TABLE_SIZE],
      [h2.SETTINGS_MAX_CONCURRENT_STREAMS, limits.STREAM_LIMIT],
      [h2.SETTINGS_INITIAL_WINDOW_SIZE, limits.STREAM_WINDOW],
      [h2.SETTINGS_MAX_FRAME_SIZE, limits.FRAME_LIMIT],
      [h2.SETTINGS_MAX_HEADER_LIST_SIZE, limits.HEADER_LIMIT],
    ])
    this.inflow.open()
  }

  protected override get isLeaving(): boolean {
    return this.#drainedAt > 0
  }

  protected override get isIdle(): boolean {
    return this.#streams.size === 0
  }

  protected override get isAwaited(): boolean {
    if (this.outflow.holdsAnswers) return true
    if (this.output.backlog === 0) return false
    for (const stream of this.#streams.values()) if (stream.isOpen) return false
    return true
  }

  protected override read(chunk: Buffer): void {
    const code = this.#reader.read(chunk)
    if (code !== h2.NO_ERROR) this.#fail(code)
  }

  protected override proceed(): void {
    this.outflow.proceed()
  }

  /** Tells the client first, and takes what it has sent before it knew (RFC 9113, 6.8). */
  override drain(): void {
    if (this.isOver || this.#drainedAt > 0) return
    this.#drainedAt = performance.now()
    h2.sendNumbers(this.output, h2.GOAWAY, 0, [h2.LARGEST, h2.NO_ERROR])
    h2.sendBytes(this.output, h2.PING, 0, GOAWAY_PING)
  }

  override closed(): void {
    this.isOver = true
    const streams = [...this.#streams.values()]
    this.#streams.clear()
    for (const stream of streams) this.#lose(stream)
  }

  protected override check(now: number): void {
    const hasNoSettings = !this.#hasSettings && now - this.#startedAt >= limits.HEAD_TIMEOUT
    if (hasNoSettings || this.#heads.isLate(now)) {
      this.#fail(h2.ENHANCE_YOUR_CALM)
      return
    }
    if (this.#drainedAt > 0 && now - this.#drainedAt >= limits.GOAWAY_TIMEOUT) this.#refuseMore()
    this.drops.check(now)
  }

  frame(type: number, flags: number, id: number, data: Buffer, at: number, end: number): boolean {
    if (this.#heads.isInHead && type !== h2.CONTINUATION) return this.#fail(h2.PROTOCOL_ERROR)
    if (!this.#hasSettings && (type !== h2.SETTINGS || (flags & h2.ACK) !== 0)) {
      return this.#fail(h2.PROTOCOL_ERROR)
    }
    switch (type) {
      case h2.DATA:
        return this.#onData(flags, id, data, at, end)
      case h2.HEADERS:
        return this.#onHead(this.#heads.begin(flags, id, data, at, end))
      case h2.CONTINUATION:
        return this.#onHead(this.#heads.proceed(flags, id, data, at, end))
      case h2.PRIORITY:
        return this.#onPriority(id, data, at, end)
      case h2.RST_STREAM:
        return this.#onReset(id, end - at)
      case h2.SETTINGS:
        return this.#onSettings(flags, id, data, at, end)
      case h2.PING:
        return this.#onPing(flags, id, data, at, end)
      case h2.GOAWAY:
        return this.#onGoAway(id, end - at)
      case h2.WINDOW_UPDATE:
        return this.#onWindowUpdate(id, data, at, end)
      case h2.PUSH_PROMISE:
        return this.#fail(h2.PROTOCOL_ERROR)
      default:
        return this.#idleFrames.spend() || this.#fail(h2.ENHANCE_YOUR_CALM)
    }
  }

  /** Sent and received. */
  finished(stream: Http2Stream): void {
    this.#forget(stream, false)
    this.#endIfDone()
  }

  refuse(stream: Http2Stream): void {
    this.#reset(stream.id, h2.REFUSED_STREAM)
  }

  /** Ends a stream whose client does not keep up. */
  cut(stream: Http2Stream): void {
    this.#reset(stream.id, h2.ENHANCE_YOUR_CALM)
  }

  #onData(flags: number, id: number, data: Buffer, at: number, end: number): boolean {
    const size = end - at
    if (id === 0) return this.#fail(h2.PROTOCOL_ERROR)
    let [start, stop] = [at, end]
    if ((flags & h2.PADDED) !== 0) {
      stop = end - (data[at] as number)
      start++
      if (size === 0 || stop < start) return this.#fail(h2.PROTOCOL_ERROR)
    }
    if (!this.inflow.take(size)) return this.#fail(h2.FLOW_CONTROL_ERROR)
    const ends = (flags & h2.END_STREAM) !== 0
    if (start === stop && !ends && !this.#idleFrames.spend()) {
      return this.#fail(h2.ENHANCE_YOUR_CALM)
    }
    const stream = this.#streams.get(id)
    if (stream === undefined || stream.isReceived) return this.#late(id)
    stream.receiveWindow -= size
    if (stream.receiveWindow < 0) return this.#reset(id, h2.FLOW_CONTROL_ERROR)
    stream.received += stop - start
    const { contentLength } = stream.head
    if (contentLength !== undefined) {
      const isWrong = stream.received > contentLength || (ends && stream.received < contentLength)
      if (isWrong) return this.#reset(id, h2.PROTOCOL_ERROR)
    }
    if (ends) stream.isReceived = true
    if (this.drops.has(stream)) return this.#onDropped(stream)
    if (!ends) this.#widen(stream, size - (stop - start))
    if (stop > start) stream.take(data.subarray(start, stop))
    if (ends && !this.isOver) this.#endBody(stream)
    return !this.isOver
  }

  #widen(stream: Http2Stream, padding: number): void {
    if (padding > 0) this.inflow.refill(stream, padding)
    const isLow = stream.receiveWindow < limits.STREAM_WINDOW / 2
    if (isLow && stream.received < stream.wanted) this.inflow.request(stream)
  }

  #endBody(stream: Http2Stream): void {
    stream.complete()
    if (stream.isSent && this.#streams.has(stream.id)) this.finished(stream)
  }

  #onDropped(stream: Http2Stream): boolean {
    if (!stream.isReceived) this.drops.take(stream)
    else {
      this.drops.end(stream)
      if (stream.isSent) this.finished(stream)
    }
    return !this.isOver
  }

  #onHead(part: Head | number | undefined): boolean {
    if (part === undefined) return true
    if (typeof part === 'number') return this.#fail(part)
    const { id, ends, dependsOnItself, fields, isTooLarge } = part
    const known = this.#streams.get(id)
    if (known !== undefined) return this.#onTrailers(known, ends, fields)
    if (id <= this.#last) return this.#late(id)
    this.#last = id
    // Sent before the client knew that it ends here.
    if (id > this.#lastTaken) return this.#reset(id, h2.REFUSED_STREAM)
    if (dependsOnItself) return this.#reset(id, h2.PROTOCOL_ERROR)
    if (isTooLarge) return this.#reset(id, h2.ENHANCE_YOUR_CALM)
    if (this.#streams.size >= limits.STREAM_LIMIT || this.outflow.isFull)
      return this.#reset(id, h2.REFUSED_STREAM)
    const head = requestOf(fields)
    if (head === undefined) return this.#reset(id, h2.PROTOCOL_ERROR)
    if (ends && (head.contentLength ?? 0) > 0) return this.#reset(id, h2.PROTOCOL_ERROR)
    const stream = new Http2Stream(this, id, head, ends, this.outflow.initialWindow)
    this.#streams.set(id, stream)
    this.#serve(stream)
    return !this.isOver
  }

  /** They are read, for the sake of the tables, and dropped. */
  #onTrailers(stream: Http2Stream, ends: boolean, fields: readonly Field[]): boolean {
    const { id } = stream
    if (stream.isReceived) return this.#reset(id, h2.STREAM_CLOSED)
    const { contentLength } = stream.head
    const isShort = contentLength !== undefined && stream.received < contentLength
    if (!ends || isShort || !areTrailers(fields)) return this.#reset(id, h2.PROTOCOL_ERROR)
    stream.isReceived = true
    if (this.drops.has(stream)) return this.#onDropped(stream)
    this.#endBody(stream)
    return !this.isOver
  }

  #onPriority(id: number, data: Buffer, at: number, end: number): boolean {
    if (id === 0) return this.#fail(h2.PROTOCOL_ERROR)
    if (!this.#idleFrames.spend()) return this.#fail(h2.ENHANCE_YOUR_CALM)
    const code =
      end - at !== 5
        ? h2.FRAME_SIZE_ERROR
        : (h2.readUint32(data, at) & h2.LARGEST) === id
          ? h2.PROTOCOL_ERROR
          : h2.NO_ERROR
    if (code === h2.NO_ERROR) return true
    return this.#streams.has(id) ? this.#reset(id, code) : this.#fail(code)
  }

  #onReset(id: number, length: number): boolean {
    if (length !== 4) return this.#fail(h2.FRAME_SIZE_ERROR)
    if (id === 0 || this.#isUnknown(id)) return this.#fail(h2.PROTOCOL_ERROR)
    const stream = this.#streams.get(id)
    // Whoever has the whole answer need not send the rest of a body that nobody wants.
    const isAnswered = stream?.isSent === true
    if (!isAnswered && !this.#resets.spend()) return this.#fail(h2.ENHANCE_YOUR_CALM)
    if (stream === undefined) return true
    this.#forget(stream, false)
    stream.gone()
    this.#endIfDone()
    return !this.isOver
  }

  #onSettings(flags: number, id: number, data: Buffer, at: number, end: number): boolean {
    if (id !== 0) return this.#fail(h2.PROTOCOL_ERROR)
    if (!this.#settingsFrames.spend()) return this.#fail(h2.ENHANCE_YOUR_CALM)
    if ((flags & h2.ACK) !== 0) return end === at || this.#fail(h2.FRAME_SIZE_ERROR)
    const settings = readSettings(data, at, end)
    if (typeof settings === 'number') return this.#fail(settings)
    this.#hasSettings = true
    if (!this.#apply(settings)) return this.#fail(h2.FLOW_CONTROL_ERROR)
    h2.sendBytes(this.output, h2.SETTINGS, h2.ACK, NO_DATA)
    // Windows may have become wider.
    this.outflow.proceed()
    return !this.isOver
  }

  #apply({ headerTableSize, initialWindow }: Settings): boolean {
    if (headerTableSize !== undefined) {
      this.outflow.encoder.allow(headerTableSize.smallest)
      this.outflow.encoder.allow(headerTableSize.last)
    }
    if (initialWindow === undefined) return true
    const more = initialWindow - this.outflow.initialWindow
    this.outflow.initialWindow = initialWindow
    for (const stream of this.#streams.values()) {
      stream.sendWindow += more
      if (stream.sendWindow > h2.LARGEST) return false
    }
    return true
  }

  #onPing(flags: number, id: number, data: Buffer, at: number, end: number): boolean {
    if (id !== 0) return this.#fail(h2.PROTOCOL_ERROR)
    if (end - at !== 8) return this.#fail(h2.FRAME_SIZE_ERROR)
    if (!this.#pings.spend()) return this.#fail(h2.ENHANCE_YOUR_CALM)
    const payload = data.subarray(at, end)
    if ((flags & h2.ACK) === 0) h2.sendBytes(this.output, h2.PING, h2.ACK, payload)
    else if (this.#drainedAt > 0 && payload.equals(GOAWAY_PING)) this.#refuseMore()
    return !this.isOver
  }

  /** The client opens no more streams, and ends the connection when it has its answers. */
  #onGoAway(id: number, length: number): boolean {
    if (id !== 0) return this.#fail(h2.PROTOCOL_ERROR)
    if (length < 8) return this.#fail(h2.FRAME_SIZE_ERROR)
    this.#refuseMore()
    return !this.isOver
  }

  #onWindowUpdate(id: number, data: Buffer, at: number, end: number): boolean {
    if (end - at !== 4) return this.#fail(h2.FRAME_SIZE_ERROR)
    if (!this.#windowUpdates.spend()) return this.#fail(h2.ENHANCE_YOUR_CALM)
    const more = h2.readUint32(data, at) & h2.LARGEST
    if (id === 0) {
      if (more === 0) return this.#fail(h2.PROTOCOL_ERROR)
      if (!this.outflow.widen(more)) return this.#fail(h2.FLOW_CONTROL_ERROR)
    } else {
      if (this.#isUnknown(id)) return this.#fail(h2.PROTOCOL_ERROR)
      const stream = this.#streams.get(id)
      // It may have been on its way when the stream ended.
      if (stream === undefined) return true
      if (more === 0) return this.#reset(id, h2.PROTOCOL_ERROR)
      stream.sendWindow += more
      if (stream.sendWindow > h2.LARGEST) return this.#reset(id, h2.FLOW_CONTROL_ERROR)
    }
    this.outflow.proceed()
    return !this.isOver
  }

  /** No stream of that number was opened, or can have been: even ones are ours, and we open none. */
  #isUnknown(id: number): boolean {
    return id > this.#last || id % 2 === 0
  }

  /** A frame for a stream that is not open, or that the client has ended. */
  #late(id: number): boolean {
    if (this.#streams.has(id)) return this.#reset(id, h2.STREAM_CLOSED)
    if (this.#ended.wasResetByUs(id)) return true
    return this.#fail(this.#ended.has(id) ? h2.STREAM_CLOSED : h2.PROTOCOL_ERROR)
  }

  /** Ends a stream, whatever it is doing. False when the client has had too many of these. */
  #reset(id: number, code: number): boolean {
    h2.sendNumbers(this.output, h2.RST_STREAM, id, [code])
    const stream = this.#streams.get(id)
    if (stream === undefined) this.#ended.add(id, true)
    else {
      this.#forget(stream, true)
      stream.gone()
    }
    if (code !== h2.NO_ERROR && !this.#resets.spend()) return this.#fail(h2.ENHANCE_YOUR_CALM)
    this.#endIfDone()
    return !this.isOver
  }

  #forget(stream: Http2Stream, byUs: boolean): void {
    this.#streams.delete(stream.id)
    this.#ended.add(stream.id, byUs)
    this.inflow.release(stream)
    this.outflow.forget(stream)
    this.drops.end(stream)
  }

  #lose(stream: Http2Stream): void {
    this.outflow.forget(stream)
    stream.gone()
  }

  /** The second GOAWAY: what comes after the last stream that has come is not looked at. */
  #refuseMore(): void {
    if (this.#lastTaken !== h2.LARGEST) return
    this.#lastTaken = this.#last
    h2.sendNumbers(this.output, h2.GOAWAY, 0, [this.#last, h2.NO_ERROR])
    this.#endIfDone()
  }

  #endIfDone(): void {
    if (this.#lastTaken !== h2.LARGEST && this.#streams.size === 0 && !this.isOver) this.end()
  }

  /** Ends the connection because of what the client did. @returns false */
  #fail(code: number): false {
    if (this.isOver) return false
    h2.sendNumbers(this.output, h2.GOAWAY, 0, [this.#last, code])
    this.closed()
    this.end()
    return false
  }
}
