// The privacy switch. Until the server has said that it shows the slate, the camera's own frames are black.

import { change } from "./events.js";
import { current, tab, watch } from "./store.js";

/** @param {string} id @returns {any} */
const element = (id) => document.getElementById(id);

/** @returns {boolean} whether the user wants to be hidden */
export function isHidden() {
  return current().settings?.privacy ?? (current().role === "publisher" && tab.get("hidden", false));
}

export function togglePrivacy() {
  const hidden = !isHidden();
  if (current().role === "publisher") tab.set("hidden", hidden);
  change({ privacy: hidden });
  draw();
}

function draw() {
  const hidden = isHidden();
  element("privacy").setAttribute("aria-pressed", String(hidden));
  element("privacy-text").textContent = hidden ? "Show me" : "Hide me";
  element("privacy").querySelector("use").setAttribute("href", hidden ? "icons.svg#eye-off" : "icons.svg#eye");
}

/**
 * Brings the switch to life; once.
 * @param {() => MediaStream | null} camera what is being published
 */
export function bindPrivacy(camera) {
  element("privacy").addEventListener("click", togglePrivacy);
  watch(["settings", "confirmed", "phase"], ({ settings, confirmed }) => {
    draw();
    if (settings && current().role === "publisher") tab.set("hidden", settings.privacy);
    const safe = !isHidden() || Boolean(confirmed?.privacy);
    for (const track of camera()?.getVideoTracks() ?? []) track.enabled = safe;
  });
}
