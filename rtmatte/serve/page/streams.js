// The streams on air at this server, to choose from: what OBS or another browser sends is opened and steered here.

import { ApiError, call, sessionPath } from "./api.js";
import { current, watch } from "./store.js";

const EVERY_MS = 800; // the server makes pictures for who asks once a second
const SENDERS = /** @type {Record<string, string>} */ ({ page: "A browser's camera", OBS: "OBS Studio", WHIP: "A WHIP sender" });
const STATES = /** @type {Record<string, string>} */ ({ connecting: "connecting", away: "connection lost", live: "live" });

/**
 * @typedef {object} Session
 * @property {string} id
 * @property {string} sender
 * @property {string} state
 * @property {number} seconds
 * @property {number} viewers
 * @property {number[] | null} size
 * @property {string | null} recording
 */

/** @type {Session[]} */
let sessions = [];
let locked = false; // asking again without the key would count as guessing it
/** @type {Map<string, HTMLElement>} */
const rows = new Map();

/** @param {string} id @returns {any} */
const element = (id) => document.getElementById(id);

/** @param {Session} session @returns {string} what publishes it, in words */
export function senderOf({ id, sender }) {
  return id === current().session && current().role === "publisher" ? "This tab's camera" : SENDERS[sender] ?? sender;
}

/**
 * Brings the list to life; once.
 * @param {(session: Session) => void} steer opens a stream in this tab
 */
export function bindStreams(steer) {
  for (const id of ["streams", "on-air"]) element(id).addEventListener("click", () => {
    element("streams-dialog").showModal();
    void refresh(steer);
  });
  watch(["phase", "session"], () => {
    locked &&= !current().session;
    void refresh(steer);
  });
  setInterval(() => {
    if (!document.hidden && (element("streams-dialog").open || current().phase === "idle")) void refresh(steer);
  }, EVERY_MS);
}

/** @param {(session: Session) => void} steer */
async function refresh(steer) {
  if (locked) return;
  try {
    ({ sessions } = await (await call("GET", "/api/sessions")).json());
  } catch (reason) {
    locked = reason instanceof ApiError && reason.status === 401;
    sessions = [];
  }
  draw(steer);
}

/** @param {(session: Session) => void} steer */
function draw(steer) {
  const others = sessions.filter(({ id }) => id !== current().session);
  element("streams").hidden = sessions.length === 0;
  element("streams-count").textContent = String(sessions.length);
  element("on-air").hidden = others.length === 0 || current().phase !== "idle";
  element("on-air-text").textContent = others.length === 1 ? `${senderOf(others[0])} is on air` : `${others.length} streams are on air`;
  for (const [id, row] of rows) if (!sessions.some((session) => session.id === id)) {
    row.remove();
    rows.delete(id);
  }
  for (const session of sessions) drawRow(session, steer);
  element("streams-none").hidden = sessions.length > 0;
}

/** @param {Session} session @param {(session: Session) => void} steer */
function drawRow(session, steer) {
  const { id, size, state, seconds, viewers, recording } = session;
  const row = rows.get(id) ?? makeRow(session, steer);
  const here = id === current().session;
  const facts = [STATES[state] ?? state, size && size.join(" × "), duration(seconds), viewers && `${viewers} watching`, recording && "recording"];
  row.querySelector(".who")?.replaceChildren(senderOf(session));
  row.querySelector(".facts")?.replaceChildren(facts.filter(Boolean).join(" · "));
  row.dataset.state = state;
  const button = /** @type {HTMLButtonElement} */ (row.querySelector("button"));
  button.disabled = here;
  button.textContent = here ? "Open here" : publishes() ? "Open in a new tab" : "Steer";
  button.setAttribute("aria-label", `${button.textContent}: ${senderOf(session)}`);
  const picture = /** @type {HTMLImageElement} */ (row.querySelector("img"));
  if (element("streams-dialog").open) picture.src = `${sessionPath(id, "frame.jpg")}?view=composite&at=${Date.now()}`;
}

/** @param {Session} session @param {(session: Session) => void} steer @returns {HTMLElement} */
function makeRow(session, steer) {
  const row = /** @type {HTMLElement} */ (element("stream-row").content.firstElementChild.cloneNode(true));
  const picture = /** @type {HTMLImageElement} */ (row.querySelector("img"));
  picture.addEventListener("load", () => row.classList.add("seen"));
  row.querySelector("button")?.addEventListener("click", () => {
    if (publishes()) return void window.open(`/#session=${encodeURIComponent(session.id)}`, "_blank", "noopener");
    element("streams-dialog").close();
    steer(session);
  });
  element("streams-list").append(row);
  rows.set(session.id, row);
  return row;
}

/** @returns {boolean} whether this tab's own camera is on air: it stays so, and another stream gets another tab */
function publishes() {
  return current().role === "publisher" && current().session !== null;
}

/** @param {number} seconds @returns {string} */
function duration(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  return seconds < 3600 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}
