// Makes one file, and a few chunks for what is loaded on demand, of the command and the small libraries that it needs
// at every start: loading 130 files took longer than everything else of a start (docs/adr/0010). The modules beside it
// stay what `import 'openkes'` loads. The chunks name the files that they are made of, for whoever reads a stack trace.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'

import { build } from 'esbuild'

/** What only some starts need stays a package of its own; `yaml`, `valibot` and the like go into the bundle … */
const BUNDLED = [
  '@noble/hashes',
  'commander',
  'valibot',
  'yaml',
  // … and what makes certificates, with all that it needs: every client command makes one of its API key.
  '@peculiar',
  'asn1js',
  'pvtsutils',
  'pvutils',
  'reflect-metadata',
  'tslib',
  'tsyringe',
]

const external = {
  name: 'external',
  setup({ onResolve }) {
    onResolve({ filter: /^[^./]/ }, ({ path }) =>
      isBuiltin(path) || BUNDLED.some((name) => path === name || path.startsWith(`${name}/`))
        ? undefined
        : { path, external: true },
    )
  },
}

const { metafile } = await build({
  entryPoints: ['dist/main.js'],
  outdir: 'dist',
  allowOverwrite: true,
  // In dist/ itself, since version.ts finds package.json beside it.
  chunkNames: 'kes-[hash]',
  bundle: true,
  splitting: true,
  platform: 'node',
  format: 'esm',
  target: 'node20.18',
  // ECMAScript modules where a package has both: an import() of the other kind has only a default.
  mainFields: ['module', 'main'],
  minifySyntax: true,
  legalComments: 'none',
  metafile: true,
  plugins: [external],
  // The same code in ECMAScript modules: what is not used of it is left out.
  alias: { yaml: './node_modules/yaml/browser/dist/index.js' },
  // CommonJS packages in the bundle call require() for Node's own modules.
  banner: {
    js: "import { createRequire as nodeRequire } from 'node:module'; const require = nodeRequire(import.meta.url);",
  },
})

const names = Object.keys(metafile.inputs)
  .map((input) => /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(input)?.[1])
  .filter((name) => name !== undefined)
const texts = [...new Set(names)].sort().map((name) => {
  const { version, license } = JSON.parse(readFileSync(`node_modules/${name}/package.json`, 'utf8'))
  const file = readdirSync(`node_modules/${name}`).find((entry) => /^licen[cs]e/i.test(entry))
  if (file === undefined) throw new Error(`${name} has no licence file`)
  return `${name} ${version} (${license})\n\n${readFileSync(`node_modules/${name}/${file}`, 'utf8').trim()}\n`
})
writeFileSync('dist/THIRD-PARTY-LICENSES.txt', texts.join(`\n${'-'.repeat(72)}\n\n`))
