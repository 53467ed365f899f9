/** Runs before the page is drawn: light or dark as the reader chose, else as the system is. */
try {
  const chosen = localStorage.getItem("sublet-docs-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // A browser that keeps nothing for us: as the system is.
}
