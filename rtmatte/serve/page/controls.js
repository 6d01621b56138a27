// Sliders, switches and presets: each shows a setting of the server's and changes it.

import { call, sessionPath } from "./api.js";
import { change } from "./events.js";
import { attempt, notify } from "./notices.js";
import { current, watch } from "./store.js";

const PLAIN_EDGE = { edge_shift: 0, edge_softness: 0, despill: 1, light_wrap: 0, steadiness: 0 };

/** @param {string} id @returns {any} */
const element = (id) => document.getElementById(id);

/** @returns {HTMLInputElement[]} */
const sliders = () => [...document.querySelectorAll("input[data-setting]")].map((input) => /** @type {HTMLInputElement} */ (input));
/** @returns {HTMLButtonElement[]} */
const switches = () => [...document.querySelectorAll("button[data-toggle]")].map((button) => /** @type {any} */ (button));

/** Shows a slider's value in words and in its track. @param {HTMLInputElement} slider */
function paintSlider(slider) {
  const { min, max, value, dataset } = slider;
  const number = Number(value);
  const text = dataset.unit === "%" ? `${Math.round(number * 100)} %` : `${number > 0 && Number(min) < 0 ? "+" : ""}${number} px`;
  slider.style.setProperty("--filled", `${((number - Number(min)) / (Number(max) - Number(min))) * 100}%`);
  slider.setAttribute("aria-valuetext", text);
  const output = slider.parentElement?.querySelector("output");
  if (output) output.textContent = text;
}

function draw() {
  const { settings, phase } = current();
  const values = /** @type {Record<string, any>} */ (settings ?? {});
  const off = phase !== "live" || !settings;
  for (const slider of sliders()) {
    slider.disabled = off;
    const value = values[slider.dataset.setting ?? ""];
    if (value !== undefined && Number(slider.value) !== value) slider.value = value;
    paintSlider(slider);
  }
  for (const button of switches()) {
    button.disabled = off;
    button.setAttribute("aria-pressed", String(Boolean(values[button.dataset.toggle ?? ""])));
  }
  for (const id of ["reseed_every", "reseed_on_drift", "mask-file", "edge-reset", "preset-name"]) element(id).disabled = off;
  element("preset-form").querySelector("button").disabled = off;
  if (!settings) return;
  element("reseed_on_drift").checked = settings.reseed_on_drift;
  const timer = /** @type {HTMLSelectElement} */ (element("reseed_every"));
  const every = String(settings.reseed_every);
  if (![...timer.options].some(({ value }) => value === every)) timer.add(new Option(`Every ${every} seconds`, every));
  timer.value = every;
}

/** @param {string} name of a setting that is on or off */
export function toggle(name) {
  const settings = /** @type {Record<string, any> | null} */ (current().settings);
  if (settings) change({ [name]: !settings[name] });
}

/** Lists the presets by name; done for every new session. */
async function listPresets() {
  const { session } = current();
  if (!session) return;
  const response = await call("GET", sessionPath(session, "presets")).catch(() => null);
  const { presets } = response ? await response.json() : { presets: [] };
  element("presets").replaceChildren(...presets.map((/** @type {string} */ name) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.addEventListener("click", () => void attempt(() => call("POST", presetPath(name, "/load"))));
    return button;
  }));
}

/** @param {string} name @param {string} [rest] */
function presetPath(name, rest = "") {
  return sessionPath(current().session ?? "", `presets/${encodeURIComponent(name)}${rest}`);
}

/** @param {SubmitEvent} event */
async function savePreset(event) {
  event.preventDefault();
  const input = /** @type {HTMLInputElement} */ (element("preset-name"));
  const name = input.value.trim();
  const saved = await attempt(() => call("PUT", presetPath(name)));
  if (!saved) return;
  input.value = "";
  notify("preset", `Saved as ${name}.`, { tone: "good", seconds: 3 });
  void listPresets();
}

/** Uses a PNG as the mask of who is to be cut out. */
async function giveMask() {
  const input = /** @type {HTMLInputElement} */ (element("mask-file"));
  const file = input.files?.[0];
  input.value = "";
  if (!file) return;
  const path = sessionPath(current().session ?? "", "target/mask");
  const given = await attempt(() => call("PUT", path, { body: file, type: "image/png" }));
  if (given) notify("mask", "The mask now says who is cut out.", { tone: "good", seconds: 4 });
}

/** Brings sliders, switches and presets to life; once. */
export function bindControls() {
  for (const slider of sliders()) {
    slider.addEventListener("input", () => {
      paintSlider(slider);
      change({ [slider.dataset.setting ?? ""]: Number(slider.value) });
    });
  }
  for (const button of switches()) button.addEventListener("click", () => toggle(button.dataset.toggle ?? ""));
  element("edge-reset").addEventListener("click", () => change(PLAIN_EDGE));
  element("reseed_every").addEventListener("change", () => change({ reseed_every: Number(element("reseed_every").value) }));
  element("reseed_on_drift").addEventListener("change", () => change({ reseed_on_drift: element("reseed_on_drift").checked }));
  element("mask-file").addEventListener("change", giveMask);
  element("preset-form").addEventListener("submit", savePreset);
  watch(["settings", "phase"], draw);
  watch(["session"], listPresets);
}
