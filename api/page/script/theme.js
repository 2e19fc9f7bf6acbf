// Light or dark: as the system has it, until somebody chooses; the choice is kept for this browser.

const THEME = "callmeter-theme";
const darkSystem = matchMedia("(prefers-color-scheme: dark)");

/** Takes up what was chosen; `onchange` is called whenever the colours become others. */
export function followTheme(onchange) {
  const chosen = localStorage.getItem(THEME);
  if (chosen) document.documentElement.dataset.theme = chosen;
  darkSystem.addEventListener("change", onchange);
  document.addEventListener("themechosen", onchange);
}

export function switchTheme() {
  const root = document.documentElement;
  const now = root.dataset.theme ?? (darkSystem.matches ? "dark" : "light");
  root.dataset.theme = now === "dark" ? "light" : "dark";
  localStorage.setItem(THEME, root.dataset.theme);
  document.dispatchEvent(new Event("themechosen"));
}
