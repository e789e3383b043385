/** What this machine is called, and where it can be reached. */

import { hostname, type NetworkInterfaceInfo, networkInterfaces } from 'node:os'

export interface HostNames {
  readonly dns: readonly string[]
  readonly ip: readonly string[]
}

/** For a server's certificate: the names and addresses that clients on this machine and others use. */
export function hostNames(): HostNames {
  const outside = interfaces()
    .filter(({ internal, address }) => !internal && !isLinkLocal(address))
    .map(({ address }) => address)
  return {
    dns: [...new Set(['localhost', hostname()])],
    ip: [...new Set(['127.0.0.1', '::1', ...outside])],
  }
}

export function interfaces(): NetworkInterfaceInfo[] {
  return Object.values(networkInterfaces()).flatMap((list) => list ?? [])
}

/** Such an address needs the name of an interface behind it: no URL has one. */
export function isLinkLocal(address: string): boolean {
  return address.startsWith('fe80:')
}

/** Whether a server that listens there does on every address of the machine. */
export function isEverywhere(host: string): boolean {
  return host === '' || host === '0.0.0.0' || host === '::'
}

/** A host name or an address as a URL has it. */
export function inUrl(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}
