// Keeps the page connected: publishes the camera, or follows another tab's session; comes back by itself after a loss.

import { ApiError, call, sessionPath } from "./api.js";
import { connected, offer, openPeer } from "./peer.js";
import { browser, current, tab, update } from "./store.js";

const LONGEST_WAIT = 8; // seconds between two tries

/** @type {AbortController | null} */
let life = null;
/** @type {(() => void) | null} */
let unlock = null;
/** @type {RTCPeerConnection | null} */
let live = null;

/** @returns {RTCPeerConnection | null} the connection, while there is one */
export function peerConnection() {
  return live;
}

/**
 * Publishes `stream` and shows what comes back, again and again until `disconnect`.
 * @param {MediaStream} stream
 * @param {(remote: MediaStream) => void} show
 */
export function publish(stream, show) {
  keep(show, stream, async (peer, signal) => {
    const json = { type: "offer", sdp: await offer(peer.connection), resume: tab.get("session") };
    const answer = await (await call("POST", "/api/sessions", { json, signal })).json();
    await peer.connection.setRemoteDescription({ type: "answer", sdp: answer.sdp });
    tab.set("session", answer.id);
    browser.set("session", answer.id);
    unlock ??= hold(answer.id);
    return answer.id;
  });
}

/**
 * Shows what the session `id`, which somebody else publishes, sends; until `disconnect`.
 * @param {string} id
 * @param {(remote: MediaStream) => void} show
 */
export function follow(id, show) {
  keep(show, undefined, async (peer, signal) => {
    const { watch } = await (await call("GET", sessionPath(id), { signal })).json();
    await answerByWhep(peer.connection, `/whep/${encodeURIComponent(watch)}`, signal);
    return id;
  });
}

/**
 * Has a WHEP endpoint answer a connection that only receives.
 * @param {RTCPeerConnection} connection
 * @param {string} path
 * @param {AbortSignal} signal ends the session at the server as well
 * @param {string} [key] the viewing key, for those who are not logged in
 */
export async function answerByWhep(connection, path, signal, key) {
  const body = await offer(connection);
  const response = await call("POST", path, { body, type: "application/sdp", signal, key });
  const resource = response.headers.get("Location");
  const leave = () => resource && call("DELETE", resource, { keepalive: true, key }).catch(() => {});
  signal.addEventListener("abort", leave, { once: true });
  await connection.setRemoteDescription({ type: "answer", sdp: await response.text() });
}

/**
 * Ends the connection. With `end` the session as well: its viewers see that it is over.
 * @param {{end: boolean}} how
 */
export function disconnect({ end }) {
  life?.abort();
  life = live = null;
  const { session } = current();
  if (end && session) {
    void call("DELETE", sessionPath(session), { keepalive: true }).catch(() => {});
    tab.set("session", null);
    browser.set("session", null);
    unlock?.();
    unlock = null;
  }
  update({ phase: "idle", session: null, status: null, settings: null, confirmed: null });
}

/**
 * @param {(remote: MediaStream) => void} show
 * @param {MediaStream | undefined} send
 * @param {(peer: import("./peer.js").Peer, signal: AbortSignal) => Promise<string>} negotiate returns the session's id
 */
function keep(show, send, negotiate) {
  life?.abort();
  life = new AbortController();
  const { signal } = life;
  let tries = 0;

  async function once() {
    const server = await (await call("GET", "/api/server", { signal })).json();
    update({ server });
    const peer = openPeer({ signal, ways: waysOf(server), send, lost });
    try {
      const session = await negotiate(peer, signal);
      show(peer.remote);
      await connected(peer.connection);
      live = peer.connection;
      tries = 0;
      update({ phase: "live", session, fault: null });
    } catch (reason) {
      peer.close();
      throw reason;
    }
  }

  function lost() {
    if (signal.aborted) return;
    live = null;
    update({ phase: "reconnecting", confirmed: null, status: null });
    void go();
  }

  async function go() {
    try {
      await once();
    } catch (reason) {
      if (!signal.aborted) again(reason);
    }
  }

  /** @param {unknown} reason */
  function again(reason) {
    const refused = reason instanceof ApiError ? reason : null;
    const pointless = refused && refused.status >= 400 && refused.status < 500 && ![408, 409, 429].includes(refused.status);
    const wait = refused?.wait || Math.min(LONGEST_WAIT, 0.5 * 2 ** tries++);
    const phase = pointless ? "failed" : current().phase === "reconnecting" ? "reconnecting" : "connecting";
    update({ phase, fault: connectionFault(reason, wait), ...(refused?.status === 404 && { session: null }) });
    if (pointless) return;
    const timer = setTimeout(go, wait * 1000);
    signal.addEventListener("abort", () => clearTimeout(timer), { once: true });
  }

  update({ phase: "connecting", fault: null });
  void go();
}

/**
 * @param {{ice_servers: RTCIceServer[], relay_only: boolean}} server as it describes itself
 * @returns {RTCConfiguration}
 */
export function waysOf(server) {
  return { iceServers: server.ice_servers, iceTransportPolicy: server.relay_only ? "relay" : "all" };
}

/**
 * @param {unknown} reason
 * @param {number} wait seconds
 * @returns {import("./store.js").Fault}
 */
function connectionFault(reason, wait) {
  const text = reason instanceof Error ? reason.message : String(reason);
  const status = reason instanceof ApiError ? reason.status : -1;
  if (status === 503) return { title: "The server is full", text: `${text} Trying again every ${Math.ceil(wait)} seconds.` };
  if (status === 0) return { title: "The server is not there", text: "This page connects again as soon as it is back." };
  if (status === 404) return { title: "That stream is over", text: "Start your own camera, or open another stream.", over: true };
  if (status === 401) {
    return { title: "This server asks for a key", text: "Paste the token that was shown when it was started.", locked: true };
  }
  return { title: "The connection failed", text };
}

/**
 * Marks the session as published by this tab, so that another tab does not publish it too.
 * @param {string} id
 * @returns {() => void} lets go
 */
function hold(id) {
  /** @type {() => void} */
  let release = () => {};
  void navigator.locks?.request(`rtmatte:${id}`, () => new Promise((resolve) => {
    release = () => resolve(undefined);
  }));
  return () => release();
}

/**
 * @param {string} id
 * @returns {Promise<boolean>} whether another tab publishes it; a tab that is reloading has a second to let go
 */
export async function isHeldElsewhere(id) {
  if (!navigator.locks) return false;
  try {
    await navigator.locks.request(`rtmatte:${id}`, { signal: AbortSignal.timeout(1000) }, () => {});
    return false;
  } catch {
    return true;
  }
}
