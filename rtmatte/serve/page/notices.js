// Short messages under the picture: what went wrong, what a fix is, what was done.

import { sentence } from "./api.js";

/** @typedef {"warn" | "alert" | "good"} Tone */

/** @type {Map<string, {element: HTMLElement, timer: number}>} */
const shown = new Map();

/**
 * Shows a message until it is closed, replaced under the same key, or `seconds` have passed.
 * @param {string} key
 * @param {string} text
 * @param {{tone?: Tone, seconds?: number, link?: {href: string, download: string, label: string}}} [how]
 */
export function notify(key, text, how = {}) {
  const { tone = "warn", seconds = 8, link } = how;
  const before = shown.get(key);
  if (before && before.element.dataset.text === text) return;
  dismiss(key);
  const element = document.createElement("div");
  element.className = "notice";
  element.dataset.tone = tone;
  element.dataset.text = text;
  const says = document.createElement("p");
  says.textContent = sentence(text);
  element.append(says);
  if (link) {
    const anchor = document.createElement("a");
    anchor.className = "button";
    anchor.href = link.href;
    anchor.download = link.download;
    anchor.textContent = link.label;
    element.append(anchor);
  }
  const close = document.createElement("button");
  close.className = "close";
  close.type = "button";
  close.setAttribute("aria-label", "Close this message");
  close.textContent = "×";
  close.addEventListener("click", () => dismiss(key));
  element.append(close);
  document.getElementById("notices")?.append(element);
  const timer = seconds ? window.setTimeout(() => dismiss(key), seconds * 1000) : 0;
  shown.set(key, { element, timer });
}

/** @param {string} key */
export function dismiss(key) {
  const before = shown.get(key);
  if (!before) return;
  clearTimeout(before.timer);
  before.element.remove();
  shown.delete(key);
}

/**
 * Runs what a button asks for and says so where it fails.
 * @template T
 * @param {() => Promise<T>} work
 * @returns {Promise<T | null>} null if it failed
 */
export async function attempt(work) {
  try {
    return await work();
  } catch (reason) {
    notify("failed", reason instanceof Error ? reason.message : String(reason), { tone: "alert" });
    return null;
  }
}
