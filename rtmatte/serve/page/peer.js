// One WebRTC connection, for publishing or for watching: offer without trickle, heartbeat, and noticing that it is gone.

const GATHERING_MS = 1500; // candidates that take longer are of no use on a local network
const BEAT_MS = 1000;
const SILENCE_MS = 3500; // without an answer to a beat or a frame: gone

/**
 * @typedef {object} Peer
 * @property {RTCPeerConnection} connection
 * @property {MediaStream} remote what comes from the server
 * @property {() => void} close
 */

/**
 * @param {{signal: AbortSignal, ways: RTCConfiguration, send?: MediaStream, lost: () => void}} how `lost` is called once,
 *     when it breaks by itself
 * @returns {Peer} a connection that still has to be answered
 */
export function openPeer({ signal, ways, send, lost }) {
  const connection = new RTCPeerConnection(ways);
  const remote = new MediaStream();
  connection.addEventListener("track", ({ track, receiver }) => {
    if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0; // newest picture first
    remote.addTrack(track);
  });
  if (send) for (const track of send.getTracks()) connection.addTrack(track, send);
  else connection.addTransceiver("video", { direction: "recvonly" });
  // A beat that is lost is not sent again: waiting for it would hold the next ones up, and one will do.
  const channel = connection.createDataChannel("heartbeat", { ordered: false, maxRetransmits: 0 });
  const stopBeating = beat(channel, broken);
  let open = true;

  function close() {
    open = false;
    stopBeating();
    connection.close();
  }

  function broken() {
    if (!open) return;
    close();
    lost();
  }

  connection.addEventListener("connectionstatechange", () => {
    if (connection.connectionState === "failed" || connection.connectionState === "closed") broken();
  });
  signal.addEventListener("abort", close, { once: true });
  return { connection, remote, close };
}

/**
 * @param {RTCPeerConnection} connection
 * @returns {Promise<string>} its offer, candidates included
 */
export async function offer(connection) {
  await connection.setLocalDescription();
  if (connection.iceGatheringState !== "complete") await new Promise((resolve) => {
    const timer = setTimeout(resolve, GATHERING_MS);
    connection.addEventListener("icegatheringstatechange", () => {
      if (connection.iceGatheringState !== "complete") return;
      clearTimeout(timer);
      resolve(undefined);
    });
  });
  return connection.localDescription?.sdp ?? "";
}

/**
 * @param {RTCPeerConnection} connection
 * @param {number} seconds
 * @returns {Promise<void>} once it is connected; an Error if it is not in time
 */
export function connected(connection, seconds = 12) {
  return new Promise((resolve, reject) => {
    const failed = () => reject(new Error("The picture cannot reach the server: a firewall may be in the way."));
    const timer = setTimeout(failed, seconds * 1000);
    function look() {
      if (connection.connectionState === "new" || connection.connectionState === "connecting") return;
      clearTimeout(timer);
      connection.removeEventListener("connectionstatechange", look);
      if (connection.connectionState === "connected") resolve();
      else failed();
    }
    connection.addEventListener("connectionstatechange", look);
    look();
  });
}

/**
 * Answers the server's beats, two a second, and notices when they stop. One that never sends any is left to ICE.
 * @param {RTCDataChannel} channel
 * @param {() => void} silent
 * @returns {() => void} ends it
 */
function beat(channel, silent) {
  let heard = 0;
  channel.addEventListener("message", () => {
    heard = performance.now();
    channel.send("beat"); // from the event, since browsers slow the timers of hidden tabs down
  });
  const timer = setInterval(() => {
    if (heard && performance.now() - heard > SILENCE_MS) silent();
  }, BEAT_MS);
  return () => clearInterval(timer);
}
