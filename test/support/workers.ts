/** Servers of several processes, and clients that know which of them serves them; Linux only. */

import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

import { eventually, type ServerProcess } from './process.ts'
import type { Owner } from './server.ts'
import { openSession, type Session } from './session.ts'

type Who = { readonly key: string; readonly cert: string }

/** Process ids of the workers that are there just now. */
export function workersOf({ pid }: Pick<ServerProcess, 'pid'>): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .trim()
    .split(' ')
    .filter((text) => text !== '')
    .map(Number)
}

/** Which worker serves a connection; undefined when it is none just now. */
function workerOf(server: ServerProcess, session: Session): number | undefined {
  const local = session.http2.socket.localPort ?? 0
  const inode = inodeOf(server.port, local)
  return workersOf(server).find((pid) => inode !== undefined && holds(pid, inode))
}

/** Of the server's end of a TCP connection over IPv4. */
function inodeOf(serverPort: number, clientPort: number): string | undefined {
  const hex = (port: number): string => port.toString(16).toUpperCase().padStart(4, '0')
  for (const line of readFileSync('/proc/net/tcp', 'utf8').split('\n')) {
    const fields = line.trim().split(/\s+/)
    if (fields[1]?.endsWith(`:${hex(serverPort)}`) && fields[2]?.endsWith(`:${hex(clientPort)}`))
      return fields[9]
  }
  return undefined
}

function holds(pid: number, inode: string): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${fd}`) === `socket:[${inode}]`
      } catch {
        return false // closed meanwhile
      }
    })
  } catch {
    return false // it has ended meanwhile
  }
}

/** One connection to each of `count` workers, by process id. */
export async function sessionsOnAll(
  t: Owner,
  server: ServerProcess,
  who: Who,
  count: number,
): Promise<Map<number, Session>> {
  await allServe(server, count)
  const sessions = new Map<number, Session>()
  // Connections are given away in turn; one that is just starting may not be among them yet.
  for (let attempt = 0; sessions.size < count && attempt < 20 * count; attempt++) {
    const session = await openSession(t, server.port, who)
    const worker = workerOf(server, session)
    if (worker === undefined || sessions.has(worker)) session.http2.close()
    else sessions.set(worker, session)
  }
  if (sessions.size < count) throw new Error(`only ${sessions.size} of ${count} workers serve`)
  return sessions
}

/** Resolves when so many worker processes are there. */
export function allServe(server: ServerProcess, count: number): Promise<true> {
  return eventually(`${count} workers`, () => workersOf(server).length === count)
}
