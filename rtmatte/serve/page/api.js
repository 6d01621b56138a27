// Calls to the server over HTTP. A refusal becomes an ApiError in plain words.

/** Why a call failed: the server's own sentence, or what the network did. */
export class ApiError extends Error {
  /**
   * @param {string} message
   * @param {number} status the HTTP status; 0: nothing came back
   * @param {number} wait seconds after which to try again, 0 if the server did not say
   */
  constructor(message, status, wait = 0) {
    super(message);
    this.status = status;
    this.wait = wait;
  }
}

/**
 * @param {string} method
 * @param {string} path
 * @param {{json?: unknown, body?: Blob | string, type?: string, keepalive?: boolean, signal?: AbortSignal, key?: string}} [what] `key`: a
 *     viewing key, for those who are not logged in
 * @returns {Promise<Response>} a response that is good; ApiError otherwise
 */
export async function call(method, path, what = {}) {
  const { keepalive, signal, key } = what;
  const type = what.json !== undefined ? "application/json" : what.type;
  const body = what.json !== undefined ? JSON.stringify(what.json) : what.body;
  /** @type {Record<string, string>} */
  const headers = type ? { "Content-Type": type } : {};
  if (key) headers.Authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(path, { method, headers, body, keepalive, signal, cache: "no-store" });
  } catch (reason) {
    if (signal?.aborted) throw reason;
    throw new ApiError("The server does not answer. Is rtmatte still running?", 0);
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

/**
 * @param {Response} response
 * @returns {Promise<ApiError>}
 */
async function refusal(response) {
  const text = (await response.text().catch(() => "")).trim();
  let message = text;
  try {
    message = JSON.parse(text).error ?? text;
  } catch {
    // Not JSON: the text itself is the sentence.
  }
  return new ApiError(sentence(message || `the server answered ${response.status}`), response.status, Number(response.headers.get("Retry-After")) || 0);
}

/** @param {string} text @returns {string} it with a capital at the start and a stop at the end */
export function sentence(text) {
  const end = /[.!?]$/.test(text) ? "" : ".";
  return text.charAt(0).toUpperCase() + text.slice(1) + end;
}

/** @param {string} id @param {string} [rest] @returns {string} a path of a session's control API */
export function sessionPath(id, rest = "") {
  return `/api/sessions/${encodeURIComponent(id)}${rest && `/${rest}`}`;
}

/**
 * Logs this browser in with the server's token, or the key of the address it printed; ApiError if that is refused.
 * @param {string} key
 */
export async function logIn(key) {
  await call("POST", "/api/login", { json: { key } });
}

/**
 * Uses the key in the address (`#key=…`), if there is one, and takes it out, so that it is neither bookmarked nor shown.
 * @returns {Promise<URLSearchParams>} what else the fragment says
 */
export async function logInByAddress() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const key = fragment.get("key");
  if (key) {
    fragment.delete("key");
    const rest = fragment.toString();
    history.replaceState(null, "", location.pathname + location.search + (rest ? `#${rest}` : ""));
    await logIn(key).catch(() => {}); // a key used before: the cookie may still be good, and calls will tell
  }
  return fragment;
}
