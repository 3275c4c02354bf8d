// Runs before anything is drawn, so that a chosen theme never flashes. A file of its own because the page allows no
// inline script.
try {
  const chosen = localStorage.getItem("tickwire.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Storage may be forbidden; the system's theme is then used.
}
export {};
