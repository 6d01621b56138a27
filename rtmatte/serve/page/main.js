// The studio: ties camera, connection, picture and controls together. Every part is a module of its own.

import { call, logIn, logInByAddress, sessionPath } from "./api.js";
import { bindBackgrounds } from "./backgrounds.js";
import { cameraFault, closeCamera, granted, listCameras, openCamera } from "./camera.js";
import { disconnect, follow, isHeldElsewhere, publish } from "./connection.js";
import { bindControls, toggle } from "./controls.js";
import { bindEmpty } from "./empty.js";
import { listen, remember } from "./events.js";
import { attempt } from "./notices.js";
import { bindPicker, startPicking } from "./picker.js";
import { bindPrivacy, togglePrivacy } from "./privacy.js";
import { bindRecorder, toggleRecording, toggleServerRecording } from "./recorder.js";
import { bindShare } from "./share.js";
import { bindShortcuts } from "./shortcuts.js";
import { choose, remoteStream, showLocal, showRemote, startStage } from "./stage.js";
import { startStats } from "./stats.js";
import { browser, current, tab, update, watch } from "./store.js";
import { bindStreams } from "./streams.js";
import { switchTheme } from "./theme_switch.js";

/** @param {string} id @returns {any} */
const element = (id) => document.getElementById(id);

/** @type {MediaStream | null} */
let camera = null;
const refreshCameras = listCameras(element("camera"), () => browser.get("camera", ""));

/** Asks for the camera and publishes it. */
async function start() {
  if (current().role === "controller") stop();
  update({ phase: "asking", role: "publisher", fault: null });
  closeCamera(camera);
  try {
    camera = await openCamera(element("size").value, browser.get("camera", ""), element("sound").checked);
  } catch (reason) {
    camera = null;
    update({ phase: "failed", fault: cameraFault(reason) });
    return;
  }
  tab.set("publishing", true);
  element("granted").textContent = `The camera gives ${granted(camera)}.`;
  camera.getVideoTracks()[0].addEventListener("ended", cameraGone);
  showLocal(camera);
  void refreshCameras();
  publish(camera, showRemote);
}

function cameraGone() {
  stop();
  update({ phase: "failed", fault: { title: "The camera is gone", text: "It was unplugged or taken away. Plug it in again, or choose another one." } });
}

/** Lets camera and session go. */
function stop() {
  const { role } = current();
  disconnect({ end: role === "publisher" });
  closeCamera(camera);
  camera = null;
  tab.set("publishing", null);
  tab.set("steers", null);
  showLocal(null);
  showRemote(null);
  update({ role: "publisher" });
}

/** @param {string} id of a session @param {string} origin in words */
function control(id, origin) {
  update({ role: "controller", origin });
  follow(id, showRemote);
}

/** @param {import("./streams.js").Session} session a stream from elsewhere, which this tab steers until it leaves it */
function steer(session) {
  tab.set("steers", session.id);
  control(session.id, { page: "another browser", OBS: "OBS", WHIP: "a WHIP sender" }[session.sender] ?? "elsewhere");
}

/** @param {string | null} id @returns {Promise<import("./streams.js").Session | null>} the session, if it is on air */
async function onAir(id) {
  return id ? call("GET", sessionPath(id)).then((answer) => answer.json()).catch(() => null) : null;
}

/**
 * Goes on where this tab was before a reload, opens what the address names, or joins the tab that publishes.
 * @param {string | null} named
 */
async function resume(named) {
  const steered = await onAir(named ?? tab.get("steers"));
  if (steered) return steer(steered);
  tab.set("steers", null);
  const session = tab.get("session") ?? browser.get("session");
  if (await onAir(session) && await isHeldElsewhere(session)) control(session, "another tab");
  else if (session && tab.get("publishing")) await start();
}

/** @param {string} path of the session @param {unknown} [json] */
function command(path, json) {
  const { session, phase } = current();
  if (session && phase === "live") void attempt(() => call("POST", sessionPath(session, path), { json }));
}

const commands = {
  pick: () => void startPicking(),
  find: () => command("target", { kind: "person" }),
  reseed: () => command("reseed"),
  undo: () => command("target/undo"),
  record: () => toggleRecording(remoteStream()),
  "record-server": toggleServerRecording,
};

function bindCommands() {
  for (const [id, run] of Object.entries(commands)) element(id).addEventListener("click", run);
  element("leave").addEventListener("click", stop);
  element("theme").addEventListener("click", switchTheme);
  element("help-open").addEventListener("click", () => element("help").showModal());
  element("camera").addEventListener("change", () => {
    browser.set("camera", element("camera").value);
    if (camera) void start();
  });
  element("size").value = browser.get("size", "1280x720");
  element("size").addEventListener("change", () => {
    browser.set("size", element("size").value);
    if (camera) void start();
  });
  element("sound").checked = browser.get("sound", false);
  element("sound").addEventListener("change", () => {
    browser.set("sound", element("sound").checked);
    if (camera) void start();
  });
  watch(["phase", "role"], ({ phase, role }) => {
    for (const id of ["pick", "find", "reseed", "undo", "record", "record-server", "share"]) element(id).disabled = phase !== "live";
    const busy = phase !== "idle" && phase !== "failed";
    const mine = role === "publisher" && busy;
    element("leave").hidden = !mine && !(busy && tab.get("steers"));
    element("leave").textContent = mine ? "Stop camera" : "Leave this stream";
    element("granted").hidden = !mine || !camera;
    element("camera").disabled = element("size").disabled = element("sound").disabled = role === "controller";
  });
}

const SHORTCUTS = [
  { key: "p", says: "Hide me, or show me again", run: togglePrivacy },
  { key: "c", says: "Choose the person on a frozen frame", run: commands.pick },
  { key: "f", says: "Find me", run: commands.find },
  { key: "r", says: "Look again at the person", run: commands.reseed },
  { key: "u", says: "Take the last choice back", run: commands.undo },
  { key: "m", says: "Mirror what I see", run: () => toggle("mirror") },
  { key: "s", says: "Freeze the picture, or go on", run: () => toggle("frozen") },
  { key: "1", says: "Composite", run: () => choose("composite") },
  { key: "2", says: "Matte", run: () => choose("matte") },
  { key: "3", says: "Cut-out", run: () => choose("checkerboard") },
  { key: "4", says: "Original", run: () => choose("original") },
  { key: "5", says: "Split", run: () => choose("split") },
  { key: "t", says: "Light or dark", run: switchTheme },
  { key: "?", says: "This help", run: () => element("help").showModal() },
];

startStage();
startStats();
bindControls();
bindBackgrounds();
bindPicker();
bindRecorder();
bindShare();
bindCommands();
bindPrivacy(() => camera);
bindEmpty({ start: () => void start(), logIn: async (key) => {
  await logIn(key);
  await start();
} });
bindShortcuts(SHORTCUTS, element("shortcut-list"), () => current().picking);
watch(["session"], ({ session }) => listen(session));
bindStreams(steer);
watch(["confirmed"], ({ confirmed, role }) => confirmed && role === "publisher" && remember(confirmed));
const address = await logInByAddress();
const named = address.get("session");
if (named) history.replaceState(null, "", location.pathname); // who has this id steers the stream
await resume(named);
