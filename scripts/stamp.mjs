// Records the commit that dist/ was built from, for `kes --version` and GET /version.
import { execFileSync } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'

let commit = ''
try {
  commit = execFileSync('git', ['rev-parse', 'HEAD'], { stdio: ['ignore', 'pipe', 'ignore'] })
    .toString()
    .trim()
} catch {
  // A source archive has no git directory; the commit is then unknown, not wrong.
}
writeFileSync('dist/commit.json', JSON.stringify(commit))
chmodSync('dist/main.js', 0o755)
