// Imports point one way (docs/architecture in CONTRIBUTING.md): a file may import its own folder and
// anything to the left of it in LAYERS.
import { readFileSync, readdirSync } from 'node:fs'

const LAYERS = [
  'base',
  'wire',
  'crypto',
  'client',
  'telemetry',
  'keystore',
  'auth',
  'keys',
  'api',
  'config',
  'server',
  'cli',
]
const ENTRY = new Set(['main.ts', 'kes.ts', 'index.ts'])
const layerOf = (file) => LAYERS.indexOf(file.includes('/') ? file.split('/')[0] : 'base')

const faults = []
for (const file of readdirSync('src', { recursive: true, encoding: 'utf8' })) {
  if (!file.endsWith('.ts') || ENTRY.has(file)) continue
  if (layerOf(file) < 0) faults.push(`src/${file}: its folder is not a layer`)
  for (const [, target] of readFileSync(`src/${file}`, 'utf8').matchAll(
    /(?:from|import\()\s*'(\.[^']+)'/g,
  )) {
    const to = new URL(target, `file:///${file}`).pathname.slice(1)
    if (layerOf(to) > layerOf(file)) faults.push(`src/${file}: must not import ${to}`)
  }
}
for (const fault of faults) console.error(fault)
if (faults.length > 0) process.exit(1)
