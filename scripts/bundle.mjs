// Makes one script, dist/kes.cjs, of the command and the small libraries that it needs at every start: loading 130 files took
// longer than everything else of a start (docs/adr/0010). The modules beside it stay what `import 'openkes'` loads. The
// script names the files that it is made of, for whoever reads a stack trace.
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire, isBuiltin } from 'node:module'

import { build } from 'esbuild'

/** What only some starts need stays a package of its own; `yaml`, `valibot` and the like go into the bundle … */
const BUNDLED = [
  '@noble/hashes',
  'commander',
  'valibot',
  'yaml',
  // … what the tables of client commands are measured with, which has ECMAScript modules only …
  'string-width',
  'get-east-asian-width',
  'strip-ansi',
  'ansi-regex',
  // … and what makes certificates, with all that it needs: every client command makes one of its API key.
  '@peculiar',
  'asn1js',
  'pvtsutils',
  'pvutils',
  'reflect-metadata',
  'tslib',
  'tsyringe',
]

/** What makes certificates is a file of its own, for those who make one. */
const CERTIFICATES = ['@peculiar/x509', 'reflect-metadata']

const external = {
  name: 'external',
  setup({ onResolve, initialOptions: { stdin } }) {
    onResolve({ filter: /^[^./]/ }, ({ path }) => {
      if (stdin === undefined && CERTIFICATES.includes(path))
        return { path: './x509.cjs', external: true }
      return BUNDLED.some((name) => path === name || path.startsWith(`${name}/`))
        ? undefined
        : { path, external: true }
    })
  },
}

/** What is imported of Node's own modules is taken out once: esbuild alone asks the module at each use. */
const builtins = {
  name: 'builtins',
  setup({ onLoad, onResolve }) {
    onResolve({ filter: /^[^./]/ }, ({ path, kind }) =>
      kind === 'import-statement' && isBuiltin(path)
        ? { path, namespace: 'builtin', sideEffects: false }
        : undefined,
    )
    onLoad({ filter: /./, namespace: 'builtin' }, ({ path }) => {
      const names = Object.keys(createRequire(import.meta.url)(path)).filter(
        (name) => name !== 'default',
      )
      const taken = names.map(
        (name) => `export const ${name} = /* @__PURE__ */ (() => builtin.${name})()`,
      )
      return {
        contents: [`const builtin = require('${path}'); export default builtin`, ...taken].join(
          '\n',
        ),
      }
    })
  },
}

/** CommonJS: nothing to link, and V8 takes it from a cache (docs/adr/0012). @returns the files that it is made of */
async function bundle(options) {
  const { metafile } = await build({
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node20.18',
    // ECMAScript modules where a package has both: what is not used of them is left out.
    mainFields: ['module', 'main'],
    minifySyntax: true,
    // V8 forgets what answers an import() when it takes a script from a cache.
    supported: { 'dynamic-import': false },
    legalComments: 'none',
    metafile: true,
    plugins: [builtins, external],
    alias: { yaml: './node_modules/yaml/browser/dist/index.js' },
    ...options,
  })
  return Object.keys(metafile.inputs)
}

// The directive only counts where it comes first.
const PROLOGUE = "'use strict';const fileUrl = require('node:url').pathToFileURL(__filename).href;"
const inputs = [
  // A function, which dist/main.js calls: a script of its own has no require().
  await bundle({
    entryPoints: ['dist/kes.js'],
    outfile: 'dist/kes.cjs',
    define: { 'import.meta.url': 'fileUrl' },
    banner: { js: `(function (require, __filename) {${PROLOGUE}` },
    footer: { js: '})' },
  }),
  await bundle({
    stdin: {
      contents: "import 'reflect-metadata'; export * from '@peculiar/x509'",
      resolveDir: '.',
    },
    outfile: 'dist/x509.cjs',
  }),
].flat()
for (const kind of ['js', 'd.ts']) rmSync(`dist/kes.${kind}`)

const names = inputs
  .map((input) => /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(input)?.[1])
  .filter((name) => name !== undefined)
const texts = [...new Set(names)].sort().map((name) => {
  const { version, license } = JSON.parse(readFileSync(`node_modules/${name}/package.json`, 'utf8'))
  const file = readdirSync(`node_modules/${name}`).find((entry) => /^licen[cs]e/i.test(entry))
  if (file === undefined) throw new Error(`${name} has no licence file`)
  return `${name} ${version} (${license})\n\n${readFileSync(`node_modules/${name}/${file}`, 'utf8').trim()}\n`
})
writeFileSync('dist/THIRD-PARTY-LICENSES.txt', texts.join(`\n${'-'.repeat(72)}\n\n`))
