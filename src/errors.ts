/**
 * Every way in which a request can fail: its code, status and message.
 *
 * Clients recognise errors by status and exact message (the Go SDK compares both), so the messages are
 * the Go server's, word for word, where it has one. The client sees status and message; the log also
 * sees the cause.
 */

const CODES = {
  BAD_REQUEST: [400, 'bad request'],
  BAD_BODY: [400, 'invalid request body'],
  BAD_NAME: [400, 'name is empty, too long or contains invalid characters'],
  ENCLAVE_EXISTS: [400, 'enclave already exists'],
  NOT_IN_ENCLAVE: [400, 'not available in an enclave'],
  BAD_ASSIGNMENT: [400, 'this identity cannot have a policy'],
  NO_CERTIFICATE: [400, 'tls: client certificate is required'],
  MANY_CERTIFICATES: [400, 'tls: received more than one client certificate'],
  BAD_CERTIFICATE: [400, 'tls: client certificate is not accepted'],
  KEY_EXISTS: [400, 'key already exists'],
  DECRYPT: [400, 'decryption failed: ciphertext is not authentic'],
  NOT_SIGNED: [401, 'authentication required'],
  NOT_ALLOWED: [403, 'not authorized: insufficient permissions'],
  NO_ROUTE: [404, '404 page not found'],
  KEY_NOT_FOUND: [404, 'key does not exist'],
  VERSION_NOT_FOUND: [404, 'key version does not exist'],
  POLICY_NOT_FOUND: [404, 'policy does not exist'],
  ENCLAVE_NOT_FOUND: [404, 'enclave does not exist'],
  IDENTITY_NOT_FOUND: [404, 'identity does not exist'],
  BAD_METHOD: [405, 'method not allowed'],
  BAD_CIPHER: [406, 'algorithm is not supported'],
  SLOW_BODY: [408, 'request body was not received in time'],
  SERVICE_CONFLICT: [409, 'not possible in this state'],
  NO_HMAC: [409, 'key does not support HMAC'],
  KEY_DISABLED: [409, 'key is disabled'],
  KEY_PENDING: [409, 'key is pending deletion'],
  KEY_NOT_PENDING: [409, 'key is not pending deletion'],
  CONFLICT: [409, 'key was changed concurrently'],
  TOO_MANY_CHANGES: [409, 'too many changes'],
  TOO_LARGE: [413, 'request body is too large'],
  UPGRADE: [426, 'another version of this API is needed'],
  INTERNAL: [500, 'internal server error'],
  BACKEND_FAILED: [500, 'the backend failed'],
  NOT_IMPLEMENTED: [501, 'not implemented'],
  UNSUPPORTED: [501, 'operation not supported by the keystore'],
  KEYSTORE_CREATE: [502, 'failed to create key'],
  KEYSTORE_READ: [502, 'failed to read key'],
  KEYSTORE_CHANGE: [502, 'failed to change key'],
  KEYSTORE_DELETE: [502, 'failed to delete key'],
  KEYSTORE_LIST: [502, 'failed to list keys'],
  KEYSTORE_UNAVAILABLE: [502, 'key store is unavailable'],
  NOT_RUNNING: [503, 'kms service is not running'],
  OVERLOADED: [503, 'server is overloaded: try again later'],
  KEYSTORE_UNREACHABLE: [504, 'key store is not reachable'],
  TIMEOUT: [504, 'request was not finished in time'],
} as const satisfies Record<string, readonly [status: number, message: string]>

export type ErrorCode = keyof typeof CODES

/** Messages that name what they are about. */
const VARIANTS: Partial<Record<ErrorCode, RegExp>> = {
  BAD_BODY: /^invalid .*request body$/,
  BAD_NAME: / is empty, too long or (is invalid|contains invalid characters)$/,
  BAD_METHOD: /^received method '.*' expected '/,
  BAD_CIPHER: / is not supported$|^invalid (HMAC )?key size for '/,
  TOO_LARGE: /^request body is too large: /,
}

/** Which error an answer is; undefined when it is none of these. */
export function codeOf(status: number, message: string): ErrorCode | undefined {
  const codes = Object.keys(CODES) as ErrorCode[]
  return codes.find((code) => {
    const [ofCode, text] = CODES[code]
    return ofCode === status && (text === message || VARIANTS[code]?.test(message))
  })
}

interface Options {
  readonly message?: string
  /** What the log says where the message quotes the request's body. */
  readonly logged?: string
  readonly cause?: unknown
  /** Further public fields of the answer, beside `message`. */
  readonly detail?: Readonly<Record<string, string | null>>
  /** Headers that belong to the answer. */
  readonly headers?: Readonly<Record<string, string>>
}

export class KesError extends Error {
  override readonly name = 'KesError'
  readonly code: ErrorCode
  readonly status: number
  readonly logged: string
  readonly detail: Readonly<Record<string, string | null>> | undefined
  readonly headers: Readonly<Record<string, string>> | undefined

  constructor(code: ErrorCode, { message, logged, cause, detail, headers }: Options = {}) {
    super(message ?? CODES[code][1], cause === undefined ? undefined : { cause })
    this.code = code
    this.status = CODES[code][0]
    this.logged = logged ?? this.message
    this.detail = detail
    this.headers = headers
  }

  /** The error itself, or INTERNAL with what was thrown as its cause. */
  static from(thrown: unknown): KesError {
    return thrown instanceof KesError ? thrown : new KesError('INTERNAL', { cause: thrown })
  }
}

/** Whether what was thrown is this error. */
export function isCode(thrown: unknown, code: ErrorCode): boolean {
  return thrown instanceof KesError && thrown.code === code
}

/** What `work` resolves to; undefined when it fails with this error. @throws what else it fails with */
export async function unless<T>(code: ErrorCode, work: Promise<T>): Promise<T | undefined> {
  try {
    return await work
  } catch (error) {
    if (isCode(error, code)) return undefined
    throw error
  }
}
