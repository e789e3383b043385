/**
 * Third-party clients that only one keystore needs: npm leaves them out with `--omit=optional`, and nobody loads
 * them without that keystore.
 */

import { OPTIONAL_VERSIONS } from '../version.ts'
import { KeyStoreError } from './keystore.ts'

/**
 * What `load` imports: `importOptional('pg', () => import('pg'))`. The import stays with the caller, for its types.
 *
 * @throws KeyStoreError that says what to install
 */
export async function importOptional<T>(name: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    // The latter in the bundle, which is CommonJS.
    if (code !== 'ERR_MODULE_NOT_FOUND' && code !== 'MODULE_NOT_FOUND') throw error
    const version = OPTIONAL_VERSIONS[name]
    if (version === undefined)
      throw new Error(`bug: ${name} is no optional dependency`, { cause: error })
    throw new KeyStoreError(
      'failed',
      `this keystore needs the npm package ${name}, which is not installed: install openkes again ` +
        `without --omit=optional, or beside it: npm install ${name}@${version}`,
      { cause: error },
    )
  }
}
