// Switches between light and dark, and forgets the choice when it is what the system says anyway.

export function switchTheme() {
  const dark = document.documentElement.dataset.theme !== "dark";
  const system = matchMedia("(prefers-color-scheme: dark)").matches;
  try {
    if (dark === system) localStorage.removeItem("rtmatte.theme");
    else localStorage.setItem("rtmatte.theme", dark ? "dark" : "light");
  } catch {
    // Without storage the choice lasts as long as the page.
  }
  document.documentElement.dataset.theme = dark ? "dark" : "light";
}
