// The keyboard: one table, from which the keys work and the help is written.

/**
 * @typedef {object} Shortcut
 * @property {string} key as KeyboardEvent.key, lower case
 * @property {string} says
 * @property {() => void} run
 */

/** @param {EventTarget | null} target @returns {boolean} whether keys belong to what has the focus */
function types(target) {
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) && target.getAttribute("type") !== "range"
    && target.getAttribute("type") !== "checkbox";
}

/**
 * Binds the keys and fills the help's list. `quiet` says when they are off, as while a person is being chosen.
 * @param {Shortcut[]} table
 * @param {HTMLElement} list
 * @param {() => boolean} quiet
 */
export function bindShortcuts(table, list, quiet) {
  for (const { key, says } of table) {
    const meaning = document.createElement("dt");
    meaning.textContent = says;
    const cap = document.createElement("dd");
    const keyCap = document.createElement("kbd");
    keyCap.textContent = key.toUpperCase();
    cap.append(keyCap);
    list.append(meaning, cap);
  }
  const byKey = new Map(table.map((shortcut) => [shortcut.key, shortcut]));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const shortcut = byKey.get(event.key.toLowerCase());
    if (!shortcut || types(event.target)) return;
    const hides = shortcut.key === "p"; // privacy works everywhere but in a text
    if (!hides && (quiet() || document.querySelector("dialog[open]"))) return;
    event.preventDefault();
    shortcut.run();
  });
}
