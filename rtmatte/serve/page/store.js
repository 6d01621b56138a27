// What the page knows: one object that changes in one place, and the part of it that survives a reload.

/**
 * @typedef {object} Settings what the server lets a user change live (rtmatte/settings.py)
 * @property {string} background
 * @property {number} edge_shift
 * @property {number} edge_softness
 * @property {number} despill
 * @property {number} light_wrap
 * @property {number} steadiness
 * @property {boolean} mirror
 * @property {boolean} privacy
 * @property {boolean} frozen
 * @property {number} reseed_every
 * @property {boolean} reseed_on_drift
 */

/**
 * @typedef {object} Fault what went wrong, in a user's words, and what to do
 * @property {string} title
 * @property {string} text
 * @property {boolean} [locked] whether the server's key is what is missing
 * @property {boolean} [over] whether there is nothing to try again
 */

/** @typedef {"composite" | "matte" | "checkerboard" | "original" | "split"} View */
/** @typedef {"idle" | "asking" | "connecting" | "live" | "reconnecting" | "failed"} Phase */

/**
 * @typedef {object} State
 * @property {Phase} phase
 * @property {"publisher" | "controller"} role a controller steers a stream that comes from elsewhere
 * @property {string} origin from where, for a controller: "another tab"
 * @property {Record<string, any> | null} server as it last described itself
 * @property {string | null} session
 * @property {Settings | null} settings as they are shown: a change of ours counts at once
 * @property {Settings | null} confirmed as the server last said
 * @property {Record<string, any> | null} status as the server last said
 * @property {View} view
 * @property {Fault | null} fault
 * @property {boolean} picking
 * @property {boolean} recording
 */

/** @type {State} */
const state = {
  phase: "idle",
  role: "publisher",
  origin: "",
  server: null,
  session: null,
  settings: null,
  confirmed: null,
  status: null,
  view: "composite",
  fault: null,
  picking: false,
  recording: false,
};

/** @type {Set<(state: Readonly<State>, changed: Partial<State>) => void>} */
const listeners = new Set();

/** @returns {Readonly<State>} the newest state; do not keep it */
export function current() {
  return state;
}

/** @param {Partial<State>} patch */
export function update(patch) {
  Object.assign(state, patch);
  for (const listener of listeners) listener(state, patch);
}

/**
 * Calls `listener` now and after every change of one of `keys`.
 * @param {(keyof State)[]} keys
 * @param {(state: Readonly<State>) => void} listener
 */
export function watch(keys, listener) {
  listeners.add((now, changed) => {
    if (keys.some((key) => key in changed)) listener(now);
  });
  listener(state);
}

/**
 * @template T
 * @param {Storage} storage
 * @param {string} key
 * @param {T} otherwise
 * @returns {T} what was kept, or `otherwise`; broken or forbidden storage counts as empty
 */
function read(storage, key, otherwise) {
  try {
    return JSON.parse(storage.getItem(`rtmatte.${key}`) ?? "null") ?? otherwise;
  } catch {
    return otherwise;
  }
}

/**
 * @param {Storage} storage
 * @param {string} key
 * @param {unknown} value null forgets it
 */
function write(storage, key, value) {
  try {
    if (value === null) storage.removeItem(`rtmatte.${key}`);
    else storage.setItem(`rtmatte.${key}`, JSON.stringify(value));
  } catch {
    // Private windows may forbid storage: the page works, and forgets.
  }
}

/** What this tab keeps over a reload. */
export const tab = {
  /** @param {string} key @param {any} otherwise */
  get: (key, otherwise = null) => read(sessionStorage, key, otherwise),
  /** @param {string} key @param {unknown} value */
  set: (key, value) => write(sessionStorage, key, value),
};

/** What this browser keeps for every tab. */
export const browser = {
  /** @param {string} key @param {any} otherwise */
  get: (key, otherwise = null) => read(localStorage, key, otherwise),
  /** @param {string} key @param {unknown} value */
  set: (key, value) => write(localStorage, key, value),
};
