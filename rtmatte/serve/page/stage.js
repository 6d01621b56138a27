// The picture: which view is shown, from where it comes, mirrored or not.

import { call, sessionPath } from "./api.js";
import { browser, current, update, watch } from "./store.js";

const STILL_MS = 80; // between two pictures of a view that the server draws

/** @typedef {import("./store.js").View} View */

/** @param {string} id @returns {any} */
const element = (id) => document.getElementById(id);

const stage = /** @type {HTMLElement} */ (element("stage"));
const remote = /** @type {HTMLVideoElement} */ (element("remote"));
const local = /** @type {HTMLVideoElement} */ (element("local"));
const still = /** @type {HTMLCanvasElement} */ (element("still"));

/** @param {MediaStream | null} stream what comes back from the server */
export function showRemote(stream) {
  remote.srcObject = stream;
  if (stream) void remote.play().catch(() => {});
}

/** @param {MediaStream | null} stream the camera, as it is */
export function showLocal(stream) {
  local.srcObject = stream;
  if (stream) void local.play().catch(() => {});
}

/** @returns {MediaStream | null} what comes back from the server */
export function remoteStream() {
  return remote.srcObject instanceof MediaStream ? remote.srcObject : null;
}

/** @param {View} view */
export function choose(view) {
  browser.set("view", view);
  update({ view });
}

/**
 * Draws one picture of the server's into a canvas, in its own size.
 * @param {HTMLCanvasElement} canvas
 * @param {string} view as the server calls it
 * @returns {Promise<boolean>} false if there is none yet
 */
export async function drawStill(canvas, view) {
  const { session } = current();
  if (!session) return false;
  const response = await call("GET", sessionPath(session, `frame.jpg?view=${view}`)).catch(() => null);
  if (!response) return false;
  const picture = await createImageBitmap(await response.blob());
  if (canvas.width !== picture.width || canvas.height !== picture.height) {
    canvas.width = picture.width;
    canvas.height = picture.height;
  }
  canvas.getContext("2d")?.drawImage(picture, 0, 0);
  picture.close();
  return true;
}

/** @returns {string | null} the view that has to be fetched picture by picture, if one is shown */
function fetched() {
  const { view, role, phase, picking } = current();
  if (phase !== "live" || picking || document.hidden) return null;
  if (view === "matte" || view === "checkerboard") return view;
  return role === "controller" && (view === "original" || view === "split") ? "original" : null;
}

async function drawStills() {
  for (;;) {
    const view = fetched();
    if (view && (await drawStill(still, view))) still.dataset.view = view;
    await new Promise((resolve) => setTimeout(resolve, STILL_MS));
  }
}

/** Sizes the stage like the picture in it. */
function fit() {
  const source = remote.videoWidth ? remote : local;
  if (!source.videoWidth) return;
  stage.style.setProperty("--aspect", `${source.videoWidth} / ${source.videoHeight}`);
  stage.style.setProperty("--ratio", String(source.videoWidth / source.videoHeight));
}

/** @param {string} at percent from the left */
function moveSplit(at) {
  stage.style.setProperty("--split", `${at}%`);
  const { role, settings } = current();
  const before = role === "controller" ? still : local;
  const hidden = 100 - Number(at);
  // Clipping comes before mirroring, so a mirrored picture is clipped on its other side.
  before.style.clipPath = settings?.mirror ? `inset(0 0 0 ${hidden}%)` : `inset(0 ${hidden}% 0 0)`;
}

function arrange() {
  const { view, role, phase, settings, picking, status } = current();
  const live = phase === "live" || phase === "reconnecting";
  const split = view === "split";
  const fromServer = view === "matte" || view === "checkerboard" || (role === "controller" && (view === "original" || split));
  remote.hidden = !(live && (view === "composite" || split || picking));
  local.hidden = !(live && role === "publisher" && (view === "original" || split));
  still.hidden = !(live && fromServer);
  element("split").hidden = !(live && split) || picking;
  local.style.clipPath = still.style.clipPath = "";
  if (split) moveSplit(element("split-at").value);
  stage.classList.toggle("mirrored", Boolean(settings?.mirror) && !picking);
  stage.classList.toggle("picking", picking);
  element("slate").hidden = !(settings?.privacy && live);
  element("badge-frozen").hidden = !(settings?.frozen && live) || Boolean(settings?.privacy);
  const lost = status?.phase === "waiting" || status?.phase === "lost";
  element("looking").hidden = !(phase === "live" && lost) || picking || Boolean(settings?.privacy);
  for (const button of document.querySelectorAll("[data-view]")) {
    button.setAttribute("aria-pressed", String(/** @type {HTMLElement} */ (button).dataset.view === view));
  }
}

/** Brings the stage to life; once. */
export function startStage() {
  for (const video of [remote, local]) video.addEventListener("resize", fit);
  for (const button of document.querySelectorAll("[data-view]")) {
    button.addEventListener("click", () => choose(/** @type {any} */ (button).dataset.view));
  }
  const handle = /** @type {HTMLInputElement} */ (element("split-at"));
  handle.addEventListener("input", () => moveSplit(handle.value));
  update({ view: browser.get("view", "composite") });
  watch(["view", "role", "phase", "settings", "picking", "status"], arrange);
  void drawStills();
}
