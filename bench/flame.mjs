// A flame graph of the server under load, from --cpu-prof: `npm run bench:flame` writes docs/performance.svg. Waiting is left out; the
// system's part of reading sockets, which V8 counts as waiting, is, too.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'

import { call, file, load, startOurs, stop } from './servers.mjs'

const SECONDS = 8
const [WIDTH, ROW] = [1200, 16]
/** Of everything: what takes less is not drawn. */
const LEAST = 0.004
/** Where the time goes, by file. */
const COLOURS = [
  [/^node:internal\/crypto|^crypto/, '#e7a35b'],
  [/^node:|^$/, '#c9c9c9'],
  [/\.[cm]?js$/, '#7fb0dd'],
]

const profiles = file('profiles')
const server = await startOurs({
  node: ['--cpu-prof', `--cpu-prof-dir=${profiles}`, '--cpu-prof-interval=250'],
})
await call(server.port, 'PUT', '/v1/key/create/bench')
load(server, { seconds: SECONDS, warmUp: 0 })
await stop(server)
const [name] = readdirSync(profiles)
const { root, depth } = treeOf(JSON.parse(readFileSync(join(profiles, name), 'utf8')))
writeFileSync('docs/performance.svg', svgOf(root, depth))
process.exit(0)

/** Frames of the same place under the same callers are one. */
function treeOf({ nodes, samples, timeDeltas }) {
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const parents = new Map(
    nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id])),
  )
  const root = { name: 'all', place: '', time: 0, children: new Map() }
  let depth = 0
  for (const [index, sample] of samples.entries()) {
    const stack = []
    for (let id = sample; id !== undefined; id = parents.get(id))
      stack.unshift(byId.get(id).callFrame)
    if (stack.some(({ functionName }) => functionName === '(idle)')) continue
    depth = Math.max(depth, stack.length)
    let frame = root
    root.time += timeDeltas[index]
    for (const { functionName, url } of stack.slice(1)) {
      const place = url.startsWith('file:') ? basename(url) : url
      const key = `${functionName} ${place}`
      let child = frame.children.get(key)
      if (child === undefined) {
        child = { name: functionName || '(anonymous)', place, time: 0, children: new Map() }
        frame.children.set(key, child)
      }
      child.time += timeDeltas[index]
      frame = child
    }
  }
  return { root, depth }
}

function svgOf(root, depth) {
  const boxes = []
  let lowest = 0
  const draw = (frame, x, level) => {
    const share = frame.time / root.time
    if (share < LEAST || level > depth) return
    lowest = Math.max(lowest, level)
    const [left, width] = [x * WIDTH, share * WIDTH]
    const label = escape(frame.name)
    const [, colour = '#dddddd'] = COLOURS.find(([pattern]) => pattern.test(frame.place)) ?? []
    const place = escape(frame.place.replace(/^kes\.cjs$/, 'kes'))
    const title = `${label} ${place} ${(share * 100).toFixed(1)} %`.replace(/ +/g, ' ')
    const room = Math.floor(width / 6.5)
    const text =
      room < 3
        ? ''
        : `<text x="${(left + 2).toFixed(1)}" y="${level * ROW + 12}">${escape(frame.name.slice(0, room))}</text>`
    boxes.push(
      `<g><title>${title}</title><rect x="${left.toFixed(1)}" y="${level * ROW}" width="${width.toFixed(1)}" height="${ROW - 1}" fill="${colour}"/>${text}</g>`,
    )
    let at = x
    for (const child of [...frame.children.values()].toSorted((a, b) => b.time - a.time)) {
      draw(child, at, level + 1)
      at += child.time / root.time
    }
  }
  draw(root, 0, 0)
  const height = (lowest + 1) * ROW
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="monospace" font-size="11">\n${boxes.join('\n')}\n</svg>\n`
}

function escape(text) {
  return text.replace(/[<>&]/g, (char) => `&#${char.charCodeAt(0)};`)
}
