// Dark or light: as the system has it, or as somebody chose here.

import { byId, setText } from "./dom";

const KEPT_AS = "ai-engine-theme";
type Theme = "light" | "dark";

/** Shows the button's theme, and calls `changed` whenever the colours are others. */
export function watchTheme(changed: () => void): void {
  const button = byId<HTMLButtonElement>("theme-button");
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const theme = (): Theme => (localStorage.getItem(KEPT_AS) as Theme | null) ?? (system.matches ? "dark" : "light");
  const show = (): void => {
    document.documentElement.dataset["theme"] = theme();
    setText(button, theme() === "dark" ? "Light" : "Dark");
    button.setAttribute("aria-label", `Switch to ${theme() === "dark" ? "light" : "dark"} colours`);
    changed();
  };
  button.addEventListener("click", () => {
    const chosen: Theme = theme() === "dark" ? "light" : "dark";
    const isSystems = (chosen === "dark") === system.matches;
    if (isSystems) localStorage.removeItem(KEPT_AS);
    else localStorage.setItem(KEPT_AS, chosen);
    show();
  });
  system.addEventListener("change", show);
  show();
}
