// The session's WebSocket: settings and status come in, changes and commands go out. It keeps tabs in step.

import { call, sessionPath } from "./api.js";
import { browser, current, tab, update } from "./store.js";

/** @type {WebSocket | null} */
let socket = null;
let watched = /** @type {string | null} */ (null);
let tries = 0;

/** @param {string | null} id the session to keep in step with; null for none */
export function listen(id) {
  if (id === watched) return;
  watched = id;
  tries = 0;
  socket?.close();
  if (id) open(id);
}

/** @param {string} id */
function open(id) {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const mine = new WebSocket(`${scheme}://${location.host}${sessionPath(id, "events")}`);
  socket = mine;
  mine.addEventListener("open", () => {
    tries = 0;
  });
  mine.addEventListener("message", ({ data }) => {
    const news = JSON.parse(data);
    if (news.settings) update({ settings: { ...news.settings, ...greeting(id, news.settings), ...pending }, confirmed: news.settings });
    if (news.status) update({ status: news.status });
  });
  mine.addEventListener("close", () => {
    if (watched !== id) return;
    const wait = Math.min(8000, 300 * 2 ** tries++);
    setTimeout(() => watched === id && open(id), wait);
  });
}

/**
 * Brings what this browser used last to a session that is new, once; a session that is resumed has it already.
 * @param {string} id
 * @param {Record<string, any>} theirs the settings that the session began with
 * @returns {Partial<Settings>} what is being changed
 */
function greeting(id, theirs) {
  if (tab.get("settled") === id || current().role === "controller") return {};
  tab.set("settled", id);
  const kept = { ...browser.get("settings", {}), privacy: tab.get("hidden", false) };
  const changed = Object.entries(kept).filter(([name, value]) => name in theirs && theirs[name] !== value);
  const values = Object.fromEntries(changed);
  queueMicrotask(() => change(values));
  return values;
}

/**
 * Keeps for the next session what is worth it: not what is of the moment, nor a file that only the server has.
 * @param {Settings} settings
 */
export function remember({ privacy, frozen, background, ...lasting }) {
  const anywhere = /^(blur|green|#)/.test(background);
  browser.set("settings", anywhere ? { ...lasting, background } : lasting);
}

/** @typedef {import("./store.js").Settings} Settings */

/** @type {Partial<Settings>} what was changed and not sent yet */
let pending = {};

/**
 * Changes settings: shown at once, sent with the next frame, and put right by the server's answer.
 * @param {Partial<Settings>} values
 */
export function change(values) {
  const { settings } = current();
  if (settings) update({ settings: { ...settings, ...values } });
  const first = Object.keys(pending).length === 0;
  Object.assign(pending, values);
  // Hidden tabs draw no frames, and hiding oneself must not wait for one.
  if ("privacy" in values || document.hidden) flush();
  else if (first) requestAnimationFrame(flush);
}

function flush() {
  const values = pending;
  pending = {};
  const { session } = current();
  if (!session || Object.keys(values).length === 0) return;
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ change: values }));
  else void call("PATCH", sessionPath(session, "settings"), { json: values }).catch(() => {});
}
