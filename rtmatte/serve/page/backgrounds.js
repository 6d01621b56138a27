// The chooser of backgrounds: swatches, blur, colour, and files by choice or by drop.

import { call, sessionPath } from "./api.js";
import { BACKDROPS, paint, swatchOf } from "./backdrops.js";
import { change } from "./events.js";
import { attempt, dismiss, notify } from "./notices.js";
import { browser, current, tab, watch } from "./store.js";

const LARGEST = 64 * 1024 * 1024;
const GREEN = "#00b140";

/** @param {string} id @returns {any} */
const element = (id) => document.getElementById(id);

/** @typedef {{name: string, swatch: string, choose: () => unknown, is: (background: string) => boolean}} Choice */

/** @type {string} the user's own picture, as an address within this tab; "" when there is none */
let own = "";

/** @type {Choice[]} */
const CHOICES = [
  {
    name: "Blur",
    swatch: "radial-gradient(circle at 30% 40%, #d8c7a8, transparent 60%), radial-gradient(circle at 75% 60%, #7f99a0, transparent 65%), #aab3ad",
    choose: () => change({ background: `blur:${browser.get("blur", 30)}` }),
    is: (background) => background.startsWith("blur"),
  },
  {
    name: "Colour",
    swatch: "conic-gradient(from 200deg, #2f5d62, #7a5c8e, #b0616a, #c9a15a, #5f8f5b, #2f5d62)",
    choose: () => change({ background: element("colour").value }),
    is: (background) => background.startsWith("#"),
  },
  { name: "Green", swatch: GREEN, choose: () => change({ background: "green" }), is: (background) => background === "green" },
  ...BACKDROPS.map((backdrop) => ({
    name: backdrop.name,
    swatch: swatchOf(backdrop),
    choose: () => attempt(async () => give(await paint(backdrop), backdrop.name)),
    is: (/** @type {string} */ background) => isGiven(background, backdrop.name),
  })),
  {
    name: "Yours",
    swatch: "",
    choose: () => element("background-file").click(),
    is: (background) => background !== "" && !CHOICES.some((choice) => choice.name !== "Yours" && choice.is(background)),
  },
];

/** @param {string} background @param {string} name @returns {boolean} whether this tab sent `background` as `name` */
function isGiven(background, name) {
  const given = tab.get("given");
  return given?.background === background && given.name === name;
}

/** Sends a picture or a video as the background. @param {Blob} blob @param {string} name */
async function give(blob, name) {
  const path = sessionPath(current().session ?? "", "background");
  const { background } = await (await call("PUT", path, { body: blob, type: blob.type })).json();
  tab.set("given", { name, background });
  draw(); // the socket may have told of it before the answer came
}

/** @param {File} file @returns {string} why it cannot be a background, "" if it can */
function objection(file) {
  if (current().phase !== "live") return "Start the camera first, then add a background.";
  if (!/^(image|video)\//.test(file.type)) return `A background is a picture or a video; ${file.name} is neither.`;
  if (file.size > LARGEST) return `A background has at most 64 MB; ${file.name} has ${Math.round(file.size / 1e6)}.`;
  return "";
}

/** @param {File | undefined} file */
async function giveFile(file) {
  if (!file) return;
  const no = objection(file);
  if (no) return notify("background", no, { tone: "alert" });
  notify("background", `Sending ${file.name} …`, { tone: "good", seconds: 0 });
  await attempt(() => give(file, "Yours"));
  dismiss("background");
  if (own) URL.revokeObjectURL(own);
  own = file.type.startsWith("image/") ? URL.createObjectURL(file) : "";
  draw();
}

/** @returns {HTMLButtonElement[]} */
function makeSwatches() {
  return CHOICES.map(({ name, swatch, choose }) => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.background = name.toLowerCase();
    if (swatch) button.style.setProperty("--swatch", swatch);
    const label = document.createElement("span");
    label.textContent = name;
    button.append(label);
    button.addEventListener("click", choose);
    return button;
  });
}

function draw() {
  const { settings, phase } = current();
  const background = settings?.background ?? "";
  /** @type {HTMLButtonElement[]} */
  const buttons = [...element("swatches").children];
  CHOICES.forEach((choice, index) => {
    const button = buttons[index];
    button.disabled = phase !== "live";
    button.setAttribute("aria-pressed", String(Boolean(settings) && choice.is(background)));
    if (choice.name === "Yours" && own) button.style.setProperty("--swatch", `url(${own}) center / cover`);
  });
  element("blur-field").hidden = !background.startsWith("blur");
  element("colour-field").hidden = !background.startsWith("#");
  const strength = Number(background.split(":")[1]);
  if (background.startsWith("blur") && strength && document.activeElement !== element("blur")) element("blur").value = strength;
  if (background.startsWith("#") && document.activeElement !== element("colour")) element("colour").value = background;
  element("blur-value").textContent = element("blur").value;
  element("blur").style.setProperty("--filled", `${element("blur").value}%`);
}

/** Lets a file be dropped anywhere on the page. */
function bindDrop() {
  let depth = 0; // dragenter and dragleave come for every element that is crossed
  const veil = element("drop-veil");
  /** @param {DragEvent} event */
  const carriesFile = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragenter", (event) => {
    if (carriesFile(event)) veil.hidden = (depth += 1) === 0;
  });
  document.addEventListener("dragleave", (event) => {
    if (carriesFile(event)) veil.hidden = (depth -= 1) <= 0;
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    veil.hidden = true;
    void giveFile(event.dataTransfer?.files[0]);
  });
}

/** Brings the chooser to life; once. */
export function bindBackgrounds() {
  element("swatches").append(...makeSwatches());
  element("blur").addEventListener("input", () => {
    browser.set("blur", Number(element("blur").value));
    change({ background: `blur:${element("blur").value}` });
    draw();
  });
  element("colour").addEventListener("input", () => change({ background: element("colour").value }));
  element("background-file").addEventListener("change", () => {
    void giveFile(element("background-file").files[0]);
    element("background-file").value = "";
  });
  bindDrop();
  watch(["settings", "phase"], draw);
}
