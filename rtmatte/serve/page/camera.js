// The user's camera: which there are, opening one, and why that failed, in plain words.

/** @typedef {import("./store.js").Fault} Fault */

/**
 * @param {string} size "1280x720"
 * @param {string} deviceId "" for the usual one
 * @param {boolean} sound whether the microphone comes with it
 * @returns {Promise<MediaStream>} the camera's stream, in that size if it can; the browser's error otherwise
 */
export async function openCamera(size, deviceId, sound) {
  if (!navigator.mediaDevices) throw new DOMException("no secure context", "SecurityError");
  const [width, height] = size.split("x").map(Number);
  /** @type {MediaTrackConstraints} */
  const video = { width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: 30, max: 60 } };
  if (deviceId) video.deviceId = { ideal: deviceId };
  const stream = await navigator.mediaDevices.getUserMedia({ video, audio: sound });
  for (const track of stream.getVideoTracks()) track.contentHint = "detail"; // else Chrome halves the size for seconds
  return stream;
}

/**
 * @param {MediaStream} stream
 * @returns {string} what was really granted, such as "1280 × 720, 30 a second"
 */
export function granted(stream) {
  const { width, height, frameRate } = stream.getVideoTracks()[0]?.getSettings() ?? {};
  if (!width || !height) return "";
  return `${width} × ${height}${frameRate ? `, ${Math.round(frameRate)} a second` : ""}`;
}

/** @param {MediaStream | null} stream lets the camera go */
export function closeCamera(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

/**
 * Fills the list of cameras, now and whenever one is plugged in or pulled out.
 * @param {HTMLSelectElement} select
 * @param {() => string} wanted the device that should be selected
 * @returns {() => Promise<void>} to be called once a camera is open: names are hidden before
 */
export function listCameras(select, wanted) {
  async function refresh() {
    const devices = (await navigator.mediaDevices?.enumerateDevices().catch(() => [])) ?? [];
    const cameras = devices.filter(({ kind, deviceId }) => kind === "videoinput" && deviceId);
    const options = cameras.map(({ deviceId, label }, index) => new Option(label || `Camera ${index + 1}`, deviceId));
    select.replaceChildren(...(options.length ? options : [new Option("The usual camera", "")]));
    if (cameras.some(({ deviceId }) => deviceId === wanted())) select.value = wanted();
  }
  navigator.mediaDevices?.addEventListener("devicechange", refresh);
  void refresh();
  return refresh;
}

/**
 * @param {unknown} reason what getUserMedia threw
 * @returns {Fault} the same for a person
 */
export function cameraFault(reason) {
  const name = reason instanceof Error ? reason.name : "";
  switch (name) {
    case "NotAllowedError":
      return {
        title: "The camera is blocked",
        text: "Allow the camera for this page: the icon left of the address, or your system's privacy settings. Then try again.",
      };
    case "NotFoundError":
    case "OverconstrainedError":
      return { title: "No camera found", text: "Plug one in, or switch it on if it has a cover or a key, and try again." };
    case "NotReadableError":
    case "AbortError":
      return { title: "The camera is busy", text: "Another program holds it, most likely a meeting. Close that and try again." };
    case "SecurityError":
      return {
        title: "This address is not secure",
        text: "Browsers give the camera to https:// pages and to localhost only. Start the server with --cert and --key, or open it on its own machine.",
      };
    default:
      return { title: "The camera does not start", text: reason instanceof Error ? reason.message : String(reason) };
  }
}
