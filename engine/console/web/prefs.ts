// What a person chose for this browser: theme and time zone.

import { signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";
export type Zone = "UTC" | "America/New_York";

function stored(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function store(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Forbidden storage: the choice lasts until the page is closed.
  }
}

const theme0 = stored("tickwire.theme");
export const theme = signal<Theme>(theme0 === "light" || theme0 === "dark" ? theme0 : "system");
export const zone = signal<Zone>(stored("tickwire.zone") === "America/New_York" ? "America/New_York" : "UTC");

const dark = matchMedia("(prefers-color-scheme: dark)");
/** What is shown now; charts redraw by it. */
export const shownTheme = signal<"light" | "dark">(shown());

function shown(): "light" | "dark" {
  if (theme.peek() !== "system") return theme.peek() as "light" | "dark";
  return dark.matches ? "dark" : "light";
}
dark.addEventListener("change", () => (shownTheme.value = shown()));

export function setTheme(chosen: Theme): void {
  theme.value = chosen;
  store("tickwire.theme", chosen);
  if (chosen === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  shownTheme.value = shown();
}

export function setZone(chosen: Zone): void {
  zone.value = chosen;
  store("tickwire.zone", chosen);
}

export const zoneWord = (of: Zone): string => (of === "UTC" ? "UTC" : "New York");
