// Records the picture as it comes back: in this browser, a file that is the user's to save, or on the server.

import { attempt, notify } from "./notices.js";
import { call, sessionPath } from "./api.js";
import { current, update, watch } from "./store.js";

const KINDS = ["video/mp4;codecs=avc1", "video/webm;codecs=vp9", "video/webm"];

/** @type {MediaRecorder | null} */
let recorder = null;
let began = 0;

/** @param {string} id @returns {any} */
const element = (id) => document.getElementById(id);

/** @param {MediaStream | null} stream what is recorded; null while nothing comes back */
export function toggleRecording(stream) {
  if (recorder) stop();
  else if (stream) void attempt(async () => start(stream));
}

/** Begins or ends the recording on the server. */
export function toggleServerRecording() {
  const { session, status } = current();
  if (session) void attempt(() => call("POST", sessionPath(session, "record"), { json: { on: !status?.recording } }));
}

/** Shows whether something is recorded, and for how long; once. */
export function bindRecorder() {
  let name = "";
  watch(["server", "status"], ({ server, status }) => {
    const now = status?.recording ?? "";
    element("record-server").hidden = !server?.records;
    element("record-server").setAttribute("aria-pressed", String(Boolean(now)));
    const says = now ? "Stop on server" : "Record on server";
    element("record-server-text").textContent = element("record-server").title = says;
    element("badge-server").hidden = !now;
    if (status && name && !now) notify("recorded", `The server has the recording: ${name}`, { tone: "good", seconds: 12 });
    if (status) name = now;
  });
  watch(["recording"], ({ recording }) => {
    element("badge-recording").hidden = !recording;
    element("record").setAttribute("aria-pressed", String(recording));
    element("record-text").textContent = recording ? "Stop recording" : "Record";
  });
  setInterval(() => {
    if (!recorder) return;
    const seconds = Math.floor((performance.now() - began) / 1000);
    element("recording-time").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  }, 500);
  addEventListener("beforeunload", (event) => {
    if (current().recording) event.preventDefault();
  });
}

/** @param {MediaStream} stream */
function start(stream) {
  const mimeType = KINDS.find((kind) => MediaRecorder.isTypeSupported(kind));
  if (!mimeType) throw new Error("This browser cannot record.");
  /** @type {Blob[]} */
  const parts = [];
  // A clone lives on when the connection is renewed, and then stands still instead of ending the file.
  const mine = (recorder = new MediaRecorder(stream.clone(), { mimeType, videoBitsPerSecond: 6_000_000 }));
  mine.addEventListener("dataavailable", ({ data }) => parts.push(data));
  mine.addEventListener("stop", () => {
    offerFile(new Blob(parts, { type: mimeType.split(";")[0] }));
    for (const track of mine.stream.getTracks()) track.stop();
  });
  mine.start(1000);
  began = performance.now();
  update({ recording: true });
}

/** Ends the recording and offers the file. */
function stop() {
  recorder?.stop();
  recorder = null;
  update({ recording: false });
}

/** @param {Blob} file */
function offerFile(file) {
  const moment = new Date().toISOString().slice(0, 19).replace("T", " ").replaceAll(":", ".");
  const download = `rtmatte ${moment}.${file.type.includes("mp4") ? "mp4" : "webm"}`;
  const size = `${(file.size / 1e6).toFixed(1)} MB`;
  const href = URL.createObjectURL(file);
  notify("recording", `Your recording is ready (${size}). It is only in this browser until you save it.`, {
    tone: "good", seconds: 0, link: { href, download, label: "Save" },
  });
}
