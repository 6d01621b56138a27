// The link by which others watch.

import { attempt } from "./notices.js";
import { call, sessionPath } from "./api.js";
import { current } from "./store.js";

/** @param {string} id @returns {any} */
const element = (id) => document.getElementById(id);

/** Brings the share dialog to life; once. */
export function bindShare() {
  element("share").addEventListener("click", () => void attempt(open));
  element("share-copy").addEventListener("click", copy);
}

async function open() {
  const { watch, viewing_key: key } = await (await call("GET", sessionPath(current().session ?? ""))).json();
  element("share-link").value = new URL(`watch.html#${watch}.${key}`, location.href).href;
  const here = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
  element("share-note").textContent = here ? "This server listens on this machine only; the link works here." : "";
  element("share-dialog").showModal();
  element("share-link").select();
}

async function copy() {
  element("share-link").select();
  await navigator.clipboard?.writeText(element("share-link").value).catch(() => document.execCommand("copy"));
  element("share-note").textContent = "Copied.";
}
