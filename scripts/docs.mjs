// Writes kes.schema.json and docs/config.md from the one schema of the config file, and man/kes.1 from the table of
// commands; with --check, only says whether they are up to date.
import { readFileSync, writeFileSync } from 'node:fs'

import { toJsonSchema } from '@valibot/to-json-schema'

import { ROUTES } from '../dist/api/index.js'
import { schema } from '../dist/config/schema.js'
import { manPage } from './man.mjs'

const json = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'Config file of openkes',
  ...strict(toJsonSchema(schema, { errorMode: 'ignore', typeMode: 'input' })),
}

/** The schema as an editor shall see it: unknown fields are errors, and YAML's own words are allowed. */
function strict(node) {
  if (Array.isArray(node)) return node.map(strict)
  if (typeof node !== 'object' || node === null) return node
  const { required, ...rest } = Object.fromEntries(
    Object.entries(node).map(([name, value]) => [name, strict(value)]),
  )
  if (required?.length > 0) rest.required = required
  if (rest.type === 'string') rest.type = ['string', 'number', 'boolean']
  if (rest.properties !== undefined) rest.additionalProperties = false
  return rest
}

/** The subschema that says what a field is: past the alternatives that only allow it to be empty. */
function substance(node) {
  const inner = node.anyOf?.find(({ type }) => type !== 'null')
  return inner === undefined
    ? node
    : {
        ...substance(inner),
        ...(node.description && { description: node.description }),
        ...('default' in node && { default: node.default }),
      }
}

function rows(node, path, depth, out) {
  for (const [name, child] of Object.entries(node.properties ?? {})) {
    const field = substance(child)
    const at = path === '' ? name : `${path}.${name}`
    const preset =
      field.default === undefined || typeof field.default === 'object'
        ? ''
        : `\`${field.default === '' ? '""' : field.default}\``
    out.push(`| \`${at}\` | ${preset} | ${field.description ?? ''} |`)
    rows(field, at, depth + 1, out)
    if (field.additionalProperties)
      rows(substance(field.additionalProperties), `${at}.<name>`, depth + 1, out)
    if (field.items?.properties) rows(field.items, `${at}[]`, depth + 1, out)
  }
  return out
}

const reference = `# The config file

<!-- Written by \`npm run docs\` from src/config/schema.ts; do not edit. -->

YAML, as the Go server reads it. Every scalar may be \`\${NAME}\`, which stands for the environment variable NAME.
Durations are Go's: \`1h2m3.5s\`, \`300ms\`, \`0s\`. An unknown field is an error, since it might be a misspelt
one; \`kes server --lenient\` makes it a warning. The JSON Schema \`kes.schema.json\` lets editors check a file as it
is written.

| field | default | meaning |
| --- | --- | --- |
${rows(json, '', 0, []).join('\n')}

Old spellings are still read, with a warning each: \`policy.<name>.paths\` (now \`allow\`), \`root\` (now
\`admin.identity\`), \`keys\` as a map (now \`keystore\`).

## The APIs that \`api\` can set

| path | method | largest body | timeout | can do without a certificate |
| --- | --- | --- | --- | --- |
${ROUTES.map(({ path, method, maxBody, timeout, canSkipAuth }) => `| \`${path}\` | ${method} | ${maxBody ?? ''} | ${timeout === 0 ? 'none' : `${timeout / 1000}s`} | ${canSkipAuth ? 'yes' : ''} |`).join('\n')}
`

const files = {
  'kes.schema.json': `${JSON.stringify(json, null, 2)}\n`,
  'docs/config.md': reference,
  'man/kes.1': manPage(),
}
let stale = false
for (const [path, text] of Object.entries(files)) {
  if (!process.argv.includes('--check')) writeFileSync(path, text)
  else if (readFileSync(path, 'utf8') !== text) {
    stale = true
    console.error(`${path} is out of date: run npm run docs`)
  }
}
process.exitCode = stale ? 1 : 0
