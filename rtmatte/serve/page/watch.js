// The viewer: watches one stream by its link (WHEP) and comes back by itself after a loss. The link has the stream's name
// and its viewing key, which opens nothing else.

import { ApiError, call, logIn, logInByAddress } from "./api.js";
import { answerByWhep, waysOf } from "./connection.js";
import { connected, openPeer } from "./peer.js";

const LONGEST_WAIT = 8; // seconds between two tries

/** @param {string} id @returns {any} */
const element = (id) => document.getElementById(id);

const video = /** @type {HTMLVideoElement} */ (element("video"));
let tries = 0;

/** @param {string} title @param {string} text @param {"busy" | "alert"} tone */
function say(title, text, tone) {
  element("empty").hidden = false;
  element("empty-title").textContent = element("state").textContent = title;
  element("empty-text").textContent = text;
  element("state").dataset.tone = tone;
  element("spinner").hidden = tone === "alert";
  element("again").hidden = tone !== "alert";
  element("key-form").hidden = true;
}

/** @returns {string} the stream's address for viewers, of the link or of the only one there is */
const path = () => (id ? `/whep/${encodeURIComponent(id)}` : "/whep");

/** @param {AbortSignal} signal @returns {Promise<RTCConfiguration>} by which ways the server can be reached */
async function ways(signal) {
  if (!key) return waysOf(await (await call("GET", "/api/server", { signal })).json());
  const { headers } = await call("OPTIONS", path(), { signal, key });
  return { iceServers: iceServers(headers.get("Link") ?? "") };
}

/** @param {string} links Link headers, joined @returns {RTCIceServer[]} */
function iceServers(links) {
  const quoted = /** @param {string} link @param {string} name */ (link, name) =>
    link.match(new RegExp(`; ${name}="((?:[^"\\\\]|\\\\.)*)"`))?.[1].replace(/\\(.)/g, "$1");
  return [...links.matchAll(/<([^>]+)>((?:; [a-z-]+="(?:[^"\\]|\\.)*")*)/g)].map(([, urls, rest]) => ({
    urls, username: quoted(rest, "username"), credential: quoted(rest, "credential"),
  }));
}

async function watchOnce() {
  const life = new AbortController();
  const peer = openPeer({ signal: life.signal, ways: await ways(life.signal), lost: () => {
    life.abort();
    say("The connection was lost", "It comes back by itself.", "busy");
    void watch();
  } });
  addEventListener("pagehide", () => life.abort(), { once: true });
  try {
    await answerByWhep(peer.connection, path(), life.signal, key);
    video.srcObject = peer.remote;
    await connected(peer.connection);
  } catch (reason) {
    life.abort();
    throw reason;
  }
  tries = 0;
  element("empty").hidden = true;
  element("sound").hidden = peer.remote.getAudioTracks().length === 0;
  element("state").textContent = "Live";
  element("state").dataset.tone = "live";
}

async function watch() {
  try {
    await watchOnce();
  } catch (reason) {
    const refused = reason instanceof ApiError ? reason : null;
    // A key that opens nothing any more was that of a stream that is over.
    if (id && (refused?.status === 404 || (key && refused?.status === 401))) {
      return say("It is over", "Nobody sends this stream any more.", "alert");
    }
    if (refused?.status === 401) return lock();
    const wait = refused?.wait || Math.min(LONGEST_WAIT, 0.5 * 2 ** tries++);
    const text = reason instanceof Error ? reason.message : String(reason);
    const titles = /** @type {Record<number, string>} */ ({ 404: "Waiting for a stream", 503: "No seat is free" });
    say(titles[refused?.status ?? 0] ?? "Connecting", text, "busy");
    setTimeout(() => void watch(), wait * 1000);
  }
}

function lock() {
  say("This server asks for a key", "Paste the token that was shown when it was started.", "alert");
  element("again").hidden = true;
  element("key-form").hidden = false;
}

video.addEventListener("resize", () => {
  element("stage").style.setProperty("--aspect", `${video.videoWidth} / ${video.videoHeight}`);
  element("stage").style.setProperty("--ratio", String(video.videoWidth / video.videoHeight));
});
element("full").addEventListener("click", () => {
  if (document.fullscreenElement) void document.exitFullscreen();
  else void (element("stage").requestFullscreen?.() ?? /** @type {any} */ (video).webkitEnterFullscreen?.());
});
element("sound").addEventListener("click", () => {
  video.muted = !video.muted;
  element("sound").setAttribute("aria-pressed", String(!video.muted));
});

await logInByAddress();
const [id, key] = location.hash.slice(1).split(".");
element("again").addEventListener("click", () => void watch());
element("key-form").addEventListener("submit", async (/** @type {SubmitEvent} */ event) => {
  event.preventDefault();
  try {
    await logIn(element("key").value.trim());
    element("key-fault").textContent = "";
    void watch();
  } catch (reason) {
    element("key-fault").textContent = reason instanceof Error ? reason.message : String(reason);
  }
});
say("Connecting", "This takes a second.", "busy");
void watch();
