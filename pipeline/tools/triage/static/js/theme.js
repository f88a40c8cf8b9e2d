// Before the first paint: the theme the reader chose, else the system's.
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("forebay.theme");
  } catch {
    chosen = null;
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
