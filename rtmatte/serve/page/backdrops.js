// Backgrounds that the page paints itself: calm light on a wall, no photograph of anybody's room.

/** @typedef {{name: string, base: [string, string], glow: string, at: [number, number]}} Backdrop */

/** @type {Backdrop[]} */
export const BACKDROPS = [
  { name: "Studio", base: ["#e9e6df", "#b9b3a8"], glow: "rgb(255 252 244 / 90%)", at: [0.3, 0.2] },
  { name: "Dusk", base: ["#34405e", "#b5746a"], glow: "rgb(255 190 140 / 55%)", at: [0.75, 0.85] },
  { name: "Sea", base: ["#d3e6e4", "#4d8a92"], glow: "rgb(255 255 255 / 70%)", at: [0.65, 0.15] },
  { name: "Night", base: ["#1c2430", "#0c1013"], glow: "rgb(60 150 150 / 45%)", at: [0.25, 0.3] },
];

/** @param {Backdrop} backdrop @returns {string} the same as a CSS background */
export function swatchOf({ base, glow, at }) {
  return `radial-gradient(circle at ${at[0] * 100}% ${at[1] * 100}%, ${glow}, transparent 70%), linear-gradient(160deg, ${base[0]}, ${base[1]})`;
}

/** @param {Backdrop} backdrop @returns {Promise<Blob>} it as a picture of 1280x720 */
export function paint({ base, glow, at }) {
  const canvas = document.createElement("canvas");
  canvas.width = 1280;
  canvas.height = 720;
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const wall = pen.createLinearGradient(300, 0, 980, 720);
  wall.addColorStop(0, base[0]);
  wall.addColorStop(1, base[1]);
  pen.fillStyle = wall;
  pen.fillRect(0, 0, 1280, 720);
  const light = pen.createRadialGradient(at[0] * 1280, at[1] * 720, 0, at[0] * 1280, at[1] * 720, 900);
  light.addColorStop(0, glow);
  light.addColorStop(1, "transparent");
  pen.fillStyle = light;
  pen.fillRect(0, 0, 1280, 720);
  grain(pen);
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("This browser cannot make a picture."))), "image/png");
  });
}

/** Adds noise of one level, without which a slow gradient shows bands. @param {CanvasRenderingContext2D} pen */
function grain(pen) {
  const picture = pen.getImageData(0, 0, 1280, 720);
  const { data } = picture;
  for (let at = 0; at < data.length; at += 4) {
    const by = Math.random() * 3 - 1.5;
    for (let channel = at; channel < at + 3; channel += 1) data[channel] += by;
  }
  pen.putImageData(picture, 0, 0);
}
