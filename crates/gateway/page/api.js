/** Asks the service. The page only reads. */

/** @typedef {{ type: string, title: string, status: number, detail: string, kind: string }} Problem */

/** The service refused, or there is none. */
export class ApiError extends Error {
  /** @param {number} status 0 if there was no answer @param {string} message @param {string} [kind] */
  constructor(status, message, kind) {
    super(message);
    this.status = status;
    this.kind = kind;
  }
}

/** An answer that is larger than this is none of ours: the browser would fill its memory. */
const LONGEST = 64 * 1024 * 1024;
const PATIENCE_MS = 30_000;

/**
 * @param {string} path
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export async function get(path, signal) {
  const late = AbortSignal.timeout(PATIENCE_MS);
  const signals = signal ? AbortSignal.any([signal, late]) : late;
  let response;
  try {
    response = await fetch(path, { headers: { accept: 'application/json' }, cache: 'no-store', signal: signals });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, late.aborted ? `No answer within ${PATIENCE_MS / 1000} s.` : 'The service does not answer.');
  }
  if (!response.ok) throw await refusal(response);
  if (Number(response.headers.get('content-length') ?? 0) > LONGEST) {
    throw new ApiError(response.status, 'The answer is larger than the page reads, 64 MiB.');
  }
  try {
    return await response.json();
  } catch {
    throw new ApiError(0, 'The answer broke off.');
  }
}

/** @param {Response} response */
export async function refusal(response) {
  /** @type {Partial<Problem>} */
  let problem = {};
  try {
    if ((response.headers.get('content-type') ?? '').includes('json')) problem = await response.json();
  } catch {
    // The status says enough.
  }
  const detail = problem.detail ?? problem.title ?? `The service answers with status ${response.status}.`;
  return new ApiError(response.status, String(detail), problem.kind);
}

/** @param {string} id */
export const jobPath = (id) => `/v1/jobs/${encodeURIComponent(id)}`;

/** The address of a job's page. @param {string} id */
export const jobPage = (id) => `/job?id=${encodeURIComponent(id)}`;

/** @param {unknown} id */
export const isJobId = (id) => typeof id === 'string' && /^[0-9a-f]{64}$/.test(id);
