// The figures: delay from camera to screen, frames, drops, where the time goes, what it runs on, and warnings.

import { peerConnection } from "./connection.js";
import { dismiss, notify } from "./notices.js";
import { current, watch } from "./store.js";

const EVERY_MS = 1000;

/** @param {string} id @returns {any} */
const element = (id) => document.getElementById(id);

/** @typedef {{way: number, buffer: number, fps: number, width: number, height: number}} Link milliseconds */

/** @type {{delay: number, emitted: number} | null} */
let before = null;

/** @param {RTCPeerConnection} connection @returns {Promise<Link>} */
async function measure(connection) {
  const link = { way: 0, buffer: 0, fps: 0, width: 0, height: 0 };
  for (const report of (await connection.getStats()).values()) {
    if (report.type === "candidate-pair" && report.nominated) link.way = (report.currentRoundTripTime ?? 0) * 1000;
    if (report.type !== "inbound-rtp" || report.kind !== "video") continue;
    link.fps = report.framesPerSecond ?? 0;
    link.width = report.frameWidth ?? 0;
    link.height = report.frameHeight ?? 0;
    const now = { delay: report.jitterBufferDelay ?? 0, emitted: report.jitterBufferEmittedCount ?? 0 };
    if (before && now.emitted > before.emitted) {
      link.buffer = ((now.delay - before.delay) / (now.emitted - before.emitted)) * 1000;
    }
    before = now;
  }
  return link;
}

/** @param {number | undefined} ms */
const time = (ms) => (ms === undefined ? "–" : `${Math.round(ms)} ms`);

/** @typedef {{p50: number, p95: number, p99: number}} Spread milliseconds */

const STAGE_NAMES = /** @type {Record<string, string>} */ ({
  received: "Decoding", network: "Network", composited: "Drawing", sent: "Encoding", waiting: "Waiting",
});
const PHASES = /** @type {Record<string, string>} */ ({
  waiting: "Looking for a person", seeding: "Looking for a person", warming: "Found, warming up", lost: "Looking for a person",
});

/** @param {Record<string, any>} status */
function drawStages(status) {
  const latency = /** @type {Record<string, Spread>} */ (status.stages ?? {});
  const names = Object.keys(STAGE_NAMES).filter((name) => latency[name]);
  element("stages").hidden = names.length === 0;
  const list = /** @type {HTMLElement} */ (element("stage-bars"));
  if (list.dataset.names !== names.join()) {
    list.dataset.names = names.join();
    list.replaceChildren(...names.map(makeBar));
  }
  const longest = Math.max(34, ...names.map((name) => latency[name].p95));
  names.forEach((name, index) => {
    const { p50, p95 } = latency[name];
    const row = list.children[index];
    const bar = /** @type {HTMLElement} */ (row.querySelector("i"));
    bar.style.width = `${Math.min(100, (p50 / longest) * 100)}%`;
    row.querySelector(".time")?.replaceChildren(`${p50.toFixed(1)} ms · p95 ${p95.toFixed(0)}`);
  });
}

/** @param {string} name */
function makeBar(name) {
  const row = document.createElement("li");
  const label = document.createElement("span");
  label.textContent = STAGE_NAMES[name];
  const track = document.createElement("span");
  track.className = "track";
  track.append(document.createElement("i"));
  const value = document.createElement("span");
  value.className = "time";
  row.append(label, track, value);
  return row;
}

/** @param {Record<string, any>} status */
function drawDrops(status) {
  const drops = Object.entries(/** @type {Record<string, number>} */ (status.counts?.dropped ?? {})).filter(([, count]) => count > 0);
  element("figure-drops").textContent = String(drops.reduce((sum, [, count]) => sum + count, 0));
  element("drop-reasons").hidden = drops.length === 0;
  element("drop-reasons").textContent = `Dropped so that the delay stays short: ${drops.map(([why, count]) => `${count} ${why}`).join(", ")}`;
}

/** @param {Record<string, any>} status */
function drawWarnings(status) {
  const warnings = /** @type {string[]} */ ([...(status.warnings ?? []), status.message].filter(Boolean));
  for (const text of warnings) notify(`warning ${text}`, text, { seconds: 0 });
  for (const text of known) if (!warnings.includes(text)) dismiss(`warning ${text}`);
  known = warnings;
}

/** @type {string[]} */
let known = [];

function drawStatus() {
  const { status, phase } = current();
  if (!status || phase === "idle") {
    for (const name of ["delay", "fps", "drops", "size", "backend", "encoder"]) element(`figure-${name}`).textContent = "–";
    element("stages").hidden = element("drop-reasons").hidden = true;
    return;
  }
  const encoders = /** @type {string[]} */ (Object.values(status.encoders ?? {})).filter(Boolean);
  element("figure-encoder").textContent = encoders.map((each) => each.split(" (")[0]).join(", ") || "–";
  element("figure-encoder").title = encoders.join("; ");
  element("figure-backend").textContent = status.backend ?? "–";
  element("figure-backend").title = status.backend ?? "";
  drawStages(status);
  drawDrops(status);
  drawWarnings(status);
}

function drawPill() {
  const { phase, status, role, origin, settings } = current();
  const pill = element("state");
  const looking = status ? PHASES[status.phase] : "Starting";
  const [text, tone] = {
    idle: ["Not connected", ""],
    asking: ["Waiting for the camera", "busy"],
    connecting: ["Connecting", "busy"],
    reconnecting: ["Reconnecting", "busy"],
    failed: ["Stopped", "alert"],
    live: [role === "controller" ? `Live from ${origin}` : "Live", "live"],
  }[phase];
  if (phase === "live" && settings?.privacy) [pill.textContent, pill.dataset.tone] = ["Hidden", "alert"];
  else if (phase === "live" && looking) [pill.textContent, pill.dataset.tone] = [looking, "busy"];
  else if (pill.textContent !== text) [pill.textContent, pill.dataset.tone] = [text, tone];
}

async function drawLink() {
  const connection = peerConnection();
  if (!connection) return;
  const link = await measure(connection);
  const inside = current().status?.latency?.p50 ?? 0;
  element("figure-delay").textContent = time(inside + link.way + link.buffer);
  element("figure-fps").textContent = `${Math.round(link.fps)} / s`;
  element("figure-size").textContent = link.width ? `${link.width} × ${link.height}` : "–";
}

/** Brings the figures to life; once. */
export function startStats() {
  watch(["status", "phase"], drawStatus);
  watch(["status", "phase", "role", "settings"], drawPill);
  setInterval(() => void drawLink().catch(() => {}), EVERY_MS);
}
