// Removes what earlier builds left, so that a deleted source file cannot live on in dist/.
import { rmSync } from 'node:fs'

for (const folder of ['dist', 'build']) rmSync(folder, { recursive: true, force: true })
