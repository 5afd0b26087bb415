// The page: its theme, and the content of the figures that scripts draw.
"use strict";

document.querySelector("#theme").addEventListener("click", () => {
  setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
});
let themeOnScreen = null;
function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  document.dispatchEvent(new Event("themechange"));
}
window.addEventListener("afterprint", () => setTheme(themeOnScreen));
window.addEventListener("beforeprint", () => {
  themeOnScreen = document.documentElement.dataset.theme;
  setTheme("light");
  document.querySelectorAll("details").forEach((details) => (details.open = true));
});
for (const figure of document.querySelectorAll("figure[data-content]")) {
  const data = JSON.parse(document.getElementById(figure.dataset.content).textContent);
  ({ chart: drawChart, maps: drawMaps, explorer: openExplorer })[figure.dataset.kind](figure, data);
}
