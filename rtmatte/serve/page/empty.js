// What the stage says while there is no picture: how to begin, what is being waited for, what went wrong.

import { current, watch } from "./store.js";

/** @param {string} id @returns {any} */
const element = (id) => document.getElementById(id);

const WELCOME = {
  title: "Your camera, another room",
  text: "The picture goes to this rtmatte server and comes back with you cut out. Your room stays hidden.",
};
const WAITS = /** @type {Record<string, {title: string, text: string}>} */ ({
  asking: { title: "May this page use your camera?", text: "Your browser is asking; say yes there." },
  connecting: { title: "Connecting", text: "This takes a second." },
  reconnecting: { title: "The connection was lost", text: "This page comes back by itself. Nobody sees your room meanwhile." },
});

/**
 * @param {{start: () => void, logIn: (key: string) => Promise<void>}} acts
 */
export function bindEmpty({ start, logIn }) {
  element("empty-action").addEventListener("click", start);
  element("key-form").addEventListener("submit", async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    await logIn(element("key").value.trim()).catch((reason) => {
      element("key-fault").hidden = false;
      element("key-fault").textContent = reason.message;
    });
    element("key").value = "";
  });
  watch(["phase", "fault"], draw);
}

function draw() {
  const { phase, fault } = current();
  element("empty").hidden = phase === "live";
  const waits = WAITS[phase];
  const says = fault ?? waits ?? WELCOME;
  const locked = fault?.locked ?? false;
  element("empty-title").textContent = says.title;
  element("empty-text").textContent = says.text;
  element("empty-spinner").hidden = !waits;
  element("empty-icon").toggleAttribute("hidden", Boolean(waits));
  element("empty-icon").querySelector("use").setAttribute("href", fault ? "icons.svg#camera-off" : "icons.svg#camera");
  element("empty-action").hidden = Boolean(waits) || locked;
  element("empty-action").textContent = fault && !fault.over ? "Try again" : "Start camera";
  element("key-form").hidden = !locked;
  // While the last picture stands, what is being waited for is said over it.
  element("stage").classList.toggle("dimmed", phase === "reconnecting");
}
