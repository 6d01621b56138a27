// Choosing who is cut out: on a frozen frame, by points on them and beside them, and by a box. Each step is sent at once.

import { call, sessionPath } from "./api.js";
import { attempt, notify } from "./notices.js";
import { drawStill } from "./stage.js";
import { current, update } from "./store.js";

/** @typedef {{x: number, y: number, wanted: boolean}} Point in 0..1 of the frame */
/** @typedef {[number, number, number, number]} Box left, top, right, bottom in 0..1 */
/** @typedef {{points: Point[], box: Box | null}} Pick */

const DRAG = 0.03; // of the frame: a shorter move is a click
const STEP = 0.02; // of the frame that an arrow key moves the cross

/** @param {string} id @returns {any} */
const element = (id) => document.getElementById(id);

const canvas = /** @type {HTMLCanvasElement} */ (element("picker-frame"));
const frozen = document.createElement("canvas");

/** @type {Pick[]} every state so far, so that each step can be taken back */
let steps = [];
let wanted = true;
let cross = { x: 0.5, y: 0.4, shown: false };
/** @type {{from: {x: number, y: number}, to: {x: number, y: number}} | null} */
let drag = null;

/** @returns {Pick} */
function now() {
  return steps.at(-1) ?? { points: [], box: null };
}

/** Freezes the newest frame and lets the user choose on it. */
export async function startPicking() {
  if (current().picking || current().phase !== "live") return;
  if (!(await freeze())) return;
  canvas.width = frozen.width;
  canvas.height = frozen.height;
  steps = [];
  drag = null;
  cross = { x: 0.5, y: 0.4, shown: false };
  mean(true);
  element("picker").hidden = false;
  update({ picking: true });
  draw();
  canvas.focus();
}

/** @returns {Promise<boolean>} whether there is a frame now; the server begins to keep them with the first question */
async function freeze() {
  for (let tries = 0; tries < 40; tries += 1) {
    if (await drawStill(frozen, "original")) return true;
    await new Promise((resolve) => setTimeout(resolve, 60));
  }
  notify("pick", "There is no picture to choose on yet.");
  return false;
}

/** @param {{keep: boolean}} how whether what was chosen stands */
function stopPicking({ keep }) {
  if (!current().picking) return;
  const back = keep ? 0 : steps.length;
  element("picker").hidden = true;
  update({ picking: false });
  element("pick").focus();
  if (back) void attempt(() => takeBack(back));
}

/** @param {number} count choices that the server is to forget */
async function takeBack(count) {
  const path = sessionPath(current().session ?? "", "target/undo");
  for (let each = 0; each < count; each += 1) await call("POST", path);
}

/** @param {Pick} pick */
function choose(pick) {
  steps.push(pick);
  draw();
  void attempt(() => call("POST", sessionPath(current().session ?? "", "target"), { json: { kind: "pick", ...pick } }));
}

function undo() {
  if (!steps.length) return;
  steps.pop();
  draw();
  void attempt(() => takeBack(1));
}

/** @param {{x: number, y: number}} at @param {boolean} them */
function addPoint(at, them) {
  choose({ ...now(), points: [...now().points, { x: at.x, y: at.y, wanted: them }] });
}

/** @param {boolean} them what a click means from now on */
function mean(them) {
  wanted = them;
  element("picker-wanted").setAttribute("aria-pressed", String(them));
  element("picker-unwanted").setAttribute("aria-pressed", String(!them));
}

/** @param {PointerEvent} event @returns {{x: number, y: number}} where in the frame, 0..1: the canvas may have borders */
function place(event) {
  const area = canvas.getBoundingClientRect();
  const scale = Math.min(area.width / canvas.width, area.height / canvas.height);
  const width = canvas.width * scale;
  const height = canvas.height * scale;
  const x = (event.clientX - area.left - (area.width - width) / 2) / width;
  const y = (event.clientY - area.top - (area.height - height) / 2) / height;
  return { x: Math.min(1, Math.max(0, x)), y: Math.min(1, Math.max(0, y)) };
}

/** @param {{from: {x: number, y: number}, to: {x: number, y: number}}} line @returns {Box} */
function boxOf({ from, to }) {
  return [Math.min(from.x, to.x), Math.min(from.y, to.y), Math.max(from.x, to.x), Math.max(from.y, to.y)];
}

/** @param {NonNullable<typeof drag>} line */
function isBox({ from, to }) {
  return Math.abs(from.x - to.x) > DRAG && Math.abs(from.y - to.y) > DRAG;
}

function draw() {
  const pen = canvas.getContext("2d");
  if (!pen) return;
  const { width, height } = canvas;
  const unit = width / Math.max(320, canvas.clientWidth || width); // one pixel of the screen
  pen.drawImage(frozen, 0, 0);
  pen.lineWidth = 2 * unit;
  const box = drag && isBox(drag) ? boxOf(drag) : now().box;
  if (box) {
    const [left, top, right, bottom] = box;
    pen.fillStyle = "rgb(92 200 191 / 14%)";
    pen.strokeStyle = "#5cc8bf";
    pen.fillRect(left * width, top * height, (right - left) * width, (bottom - top) * height);
    pen.strokeRect(left * width, top * height, (right - left) * width, (bottom - top) * height);
  }
  for (const point of now().points) dot(pen, point, unit);
  if (cross.shown) {
    pen.strokeStyle = "#ffffff";
    pen.beginPath();
    pen.moveTo((cross.x - 0.03) * width, cross.y * height);
    pen.lineTo((cross.x + 0.03) * width, cross.y * height);
    pen.moveTo(cross.x * width, cross.y * height - 0.03 * width);
    pen.lineTo(cross.x * width, cross.y * height + 0.03 * width);
    pen.stroke();
  }
  element("picker-undo").disabled = element("picker-done").disabled = !steps.length;
}

/** @param {CanvasRenderingContext2D} pen @param {Point} point @param {number} unit */
function dot(pen, point, unit) {
  const x = point.x * canvas.width;
  const y = point.y * canvas.height;
  pen.beginPath();
  pen.arc(x, y, 11 * unit, 0, 2 * Math.PI);
  pen.fillStyle = point.wanted ? "#0a6f6a" : "#b3261e";
  pen.fill();
  pen.strokeStyle = "#ffffff";
  pen.stroke();
  pen.beginPath();
  pen.moveTo(x - 5 * unit, y);
  pen.lineTo(x + 5 * unit, y);
  if (point.wanted) {
    pen.moveTo(x, y - 5 * unit);
    pen.lineTo(x, y + 5 * unit);
  }
  pen.stroke();
}

/** @param {KeyboardEvent} event */
function key(event) {
  const moves = /** @type {Record<string, [number, number]>} */ ({
    ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP],
  });
  const move = moves[event.key];
  if (move) {
    const limit = (/** @type {number} */ value) => Math.min(1, Math.max(0, value));
    cross = { x: limit(cross.x + move[0]), y: limit(cross.y + move[1]), shown: true };
    draw();
  } else if (event.key === " ") addPoint(cross, wanted);
  else if (event.key.toLowerCase() === "x") addPoint(cross, false);
  else return;
  event.preventDefault();
}

/** Binds the picker's pointer, keys and buttons; once. */
export function bindPicker() {
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button > 0) return;
    canvas.setPointerCapture(event.pointerId);
    drag = { from: place(event), to: place(event) };
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drag) return;
    drag.to = place(event);
    draw();
  });
  canvas.addEventListener("pointerup", (event) => {
    if (!drag) return;
    const line = { from: drag.from, to: place(event) };
    drag = null;
    if (isBox(line)) choose({ ...now(), box: boxOf(line) });
    else addPoint(line.from, event.shiftKey || event.altKey ? false : wanted);
  });
  canvas.addEventListener("pointercancel", () => {
    drag = null;
    draw();
  });
  canvas.addEventListener("keydown", key);
  element("picker").addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Escape") stopPicking({ keep: false });
    else if (event.key.toLowerCase() === "u" || event.key === "Backspace") undo();
    else if (event.key === "Enter" && event.target === canvas && steps.length) stopPicking({ keep: true });
  });
  element("picker-wanted").addEventListener("click", () => mean(true));
  element("picker-unwanted").addEventListener("click", () => mean(false));
  element("picker-undo").addEventListener("click", undo);
  element("picker-cancel").addEventListener("click", () => stopPicking({ keep: false }));
  element("picker-done").addEventListener("click", () => stopPicking({ keep: true }));
}
