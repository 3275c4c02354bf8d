// The lengths of bars, in the words of the wire.

/** Seconds of each, shortest first. Weeks and months are nominal: their bars end by calendar. */
const SECONDS: Record<string, number> = {
  S1: 1,
  S5: 5,
  S15: 15,
  S30: 30,
  M1: 60,
  M5: 300,
  M15: 900,
  M30: 1800,
  H1: 3600,
  H4: 14_400,
  D1: 86_400,
  W1: 604_800,
  MN: 2_592_000,
  MN1: 2_592_000,
};

/** Those that the engine builds unless its configuration says otherwise. */
export const TIMEFRAMES = ["M1", "M5", "M15", "M30", "H1", "H4", "D1", "W1", "MN"] as const;

const NAMES: Record<string, string> = { S: "second", M: "minute", H: "hour", D: "day", W: "week" };

/** Nominal length in seconds; 60 for a word that is not known. */
export const seconds = (timeframe: string): number => SECONDS[timeframe] ?? 60;

/** Whether bars of this length stand at an even distance, so that a missing one can be told. */
export const isEven = (timeframe: string): boolean => seconds(timeframe) <= 14_400;

/** `M15` as people say it: `15 minutes`. */
export function inWords(timeframe: string): string {
  if (timeframe.startsWith("MN")) return "1 month";
  const [, unit = "", number = ""] = /^([SMHDW])(\d+)$/.exec(timeframe) ?? [];
  const name = NAMES[unit];
  return name ? `${number} ${name}${number === "1" ? "" : "s"}` : timeframe;
}

/** Shortest first; words that are not known come last. */
export function sorted(timeframes: Iterable<string>): string[] {
  const rank = (word: string): number => SECONDS[word] ?? Number.POSITIVE_INFINITY;
  return [...new Set(timeframes)].sort((a, b) => (rank(a) === rank(b) ? a.localeCompare(b) : rank(a) - rank(b)));
}
