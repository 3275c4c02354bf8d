// Numbers that are no prices, in words.

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** `12,345`. */
export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? "–" : whole.format(value);
}

/** A rate: one digit after the point while it is small. */
export function rate(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  return value < 100 ? value.toFixed(1) : whole.format(value);
}

/** `1.2 GB`, powers of 1000. */
export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let amount = value;
  let unit = 0;
  while (amount >= 999.5 && unit < units.length - 1) {
    amount /= 1000;
    unit += 1;
  }
  return `${unit === 0 || amount >= 99.5 ? Math.round(amount) : amount.toFixed(1)} ${units[unit]}`;
}

/** Nanoseconds in the unit that reads best: `340 ns`, `1.8 µs`, `12 ms`. */
export function nanos(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  if (value < 1000) return `${Math.round(value)} ns`;
  const [amount, unit] = value < 1e6 ? [value / 1e3, "µs"] : value < 1e9 ? [value / 1e6, "ms"] : [value / 1e9, "s"];
  return `${amount < 100 ? amount.toFixed(1) : Math.round(amount)} ${unit}`;
}

/** Milliseconds in the unit that reads best: `3.4 µs`, `0.42 ms`, `18 ms`, `1.2 s`. */
export function ms(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  if (value >= 1000) return `${(value / 1000).toFixed(1)} s`;
  if (value > 0 && value < 0.1) return nanos(value * 1e6);
  return `${value < 10 ? value.toFixed(value < 1 ? 2 : 1) : Math.round(value)} ms`;
}

/** `98.4 %`. */
export function percent(value: number | null | undefined, digits = 1): string {
  return value === null || value === undefined ? "–" : `${value.toFixed(digits)} %`;
}

/** `fetch_bars` as people say it: `Fetch bars`. */
export function words(value: string): string {
  const text = value.replaceAll("_", " ").replaceAll("-", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** `3 jobs`, `1 job`. */
export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/** How the engine is, where it names no problem. */
export const UNNAMED = {
  ok: "The engine and all its connections are well.",
  degraded: "Not every shared connection delivers prices yet.",
  unavailable: "No shared connection delivers prices.",
} as const;
