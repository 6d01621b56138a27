// Sets light or dark before the first paint; loaded as a classic script so that nothing flashes.
(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");

  /** @returns {"light" | "dark" | null} what the user chose here, or null: follow the system */
  function chosen() {
    try {
      const stored = localStorage.getItem("rtmatte.theme");
      return stored === "light" || stored === "dark" ? stored : null;
    } catch {
      return null;
    }
  }

  function apply() {
    document.documentElement.dataset.theme = chosen() ?? (system.matches ? "dark" : "light");
  }

  system.addEventListener("change", apply);
  window.addEventListener("storage", apply);
  window.addEventListener("rtmatte.theme", apply);
  apply();
})();
