// The colours of a chart, from the page's own.

export interface Colours {
  up: string;
  down: string;
  text: string;
  line: string;
  /** Levels of indicators, such as 30 and 70. */
  level: string;
  grid: string;
  accent: string;
  gap: string;
  gapEdge: string;
  background: string;
  series: string[];
}

/** Bodies and wicks: the same in light and dark, and used for nothing else, so that drawn candles can be told in a picture. */
export const CANDLE_UP = "#12a182";
export const CANDLE_DOWN = "#e0475b";

/** Lines of indicators: far apart from each other and from the candles. */
const SERIES = {
  light: ["#2563eb", "#b45309", "#7c3aed", "#0e7490", "#be185d", "#4d7c0f"],
  dark: ["#6ea8fe", "#f0b35a", "#b794f6", "#4fd1e0", "#f48fb1", "#b5d56a"],
};

/** Reads the page's colours as they are now. */
export function readColours(theme: "light" | "dark"): Colours {
  const styles = getComputedStyle(document.documentElement);
  const of = (name: string, otherwise: string): string => styles.getPropertyValue(name).trim() || otherwise;
  const isDark = theme === "dark";
  return {
    up: CANDLE_UP,
    down: CANDLE_DOWN,
    text: of("--muted", isDark ? "#93a0b3" : "#566173"),
    line: of("--line", isDark ? "#2b333f" : "#d9dee5"),
    level: of("--line-strong", isDark ? "#36445a" : "#c3ccd8"),
    grid: isDark ? "rgba(148, 163, 184, 0.09)" : "rgba(71, 85, 105, 0.09)",
    accent: of("--accent", isDark ? "#6ea8fe" : "#2563eb"),
    gap: isDark ? "rgba(245, 158, 11, 0.13)" : "rgba(217, 119, 6, 0.11)",
    gapEdge: isDark ? "rgba(245, 158, 11, 0.55)" : "rgba(180, 83, 9, 0.5)",
    background: of("--surface", isDark ? "#151a21" : "#ffffff"),
    series: SERIES[theme],
  };
}
