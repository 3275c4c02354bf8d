// Where an indicator is drawn, and how: on the prices, or in a pane of its own.

import type { IndicatorSeries } from "../types.ts";

/** A line of an indicator. */
export interface Line {
  output: string;
  /** Index of the value in a point, after the time. */
  index: number;
  kind: "line" | "dashed" | "histogram";
}

/** How an indicator is drawn. */
export interface Plan {
  indicator: string;
  /** `EMA` of `EMA(20)`. */
  family: string;
  pane: "price" | "own";
  lines: Line[];
  /** Levels that people look at, such as 30 and 70. */
  levels: number[];
  /** Digits after the point where it has no prices. */
  digits: number;
}

/** The families whose values lie among the prices. */
const ON_PRICES = new Set(["SMA", "EMA", "WMA", "BB", "VWAP", "HMA", "DEMA", "TEMA", "KAMA", "KELTNER", "DONCHIAN"]);
const LEVELS: Record<string, number[]> = {
  RSI: [30, 70],
  STOCH: [20, 80],
  WILLR: [-80, -20],
  CCI: [-100, 100],
  ADX: [25],
  MACD: [0],
};
/** Outputs that are of another scale than the rest of their family. */
const LEFT_OUT: Record<string, Set<string>> = { BB: new Set(["deviation"]), ATR: new Set(["true range"]) };

/** `EMA` of `EMA(20)`, `EMA` of `EMA(20) bid`. */
export const familyOf = (indicator: string): string => /^[A-Za-z]+/.exec(indicator)?.[0].toUpperCase() ?? indicator;

/** The middle of the values of one line. */
function median(series: IndicatorSeries, index: number): number | null {
  const values = series.points.map((point) => point[index]).filter((value): value is number => typeof value === "number");
  if (values.length === 0) return null;
  values.sort((a, b) => a - b);
  return values[values.length >> 1]!;
}

/** Whether all lines lie where the prices are: for families that are not known by name. */
function liesAmong(series: IndicatorSeries, low: number, high: number): boolean {
  const middles = series.outputs.map((_, n) => median(series, n + 1));
  const room = (high - low) * 2;
  return middles.every((middle) => middle !== null && middle > low - room && middle < high + room) && low > 0;
}

/** How a series is drawn on a chart whose prices reach from `low` to `high`. */
export function plan(series: IndicatorSeries, low: number, high: number): Plan {
  const family = familyOf(series.indicator);
  const isKnown = ON_PRICES.has(family) || family in LEVELS || family === "ATR";
  const pane = ON_PRICES.has(family) || (!isKnown && liesAmong(series, low, high)) ? "price" : "own";
  const out = LEFT_OUT[family];
  const lines = series.outputs.flatMap((output, n): Line[] => {
    if (out?.has(output)) return [];
    const kind = output === "histogram" ? "histogram" : isSecond(family, output) ? "dashed" : "line";
    return [{ output, index: n + 1, kind }];
  });
  const digits = family in LEVELS && family !== "MACD" ? 2 : digitsFor(high - low);
  return { indicator: series.indicator, family, pane, lines, levels: LEVELS[family] ?? [], digits };
}

/** Lines that stand behind the first: dashed. */
function isSecond(family: string, output: string): boolean {
  if (family === "BB") return output === "middle";
  return output === "signal" || output === "%D";
}

/** Digits that show a hundredth of the range. */
function digitsFor(range: number): number {
  if (!(range > 0)) return 5;
  return Math.min(Math.max(Math.ceil(-Math.log10(range)) + 2, 2), 8);
}

/** A point of a line. */
export interface Point {
  t: number;
  value: number;
  /** Between it and the next point bars are missing, or have no value: the line does not go on from here. */
  isEnd: boolean;
}

/** The points of a line that have a place among the bars; `places` counts those, and the empty ones of a hole, by time. */
export function pointsOf({ points }: IndicatorSeries, { index }: Line, places: ReadonlyMap<number, number>): Point[] {
  const drawn: Point[] = [];
  let before = -1;
  for (const point of points) {
    const [place, value] = [places.get(point[0]), point[index]];
    if (place === undefined || typeof value !== "number") continue;
    const last = drawn.at(-1);
    if (last) last.isEnd = place - before > 1;
    drawn.push({ t: point[0], value, isEnd: false });
    before = place;
  }
  return drawn;
}

/** One series of each indicator, with the points of both: those of `later` win. */
export function mergeSeries(known: readonly IndicatorSeries[], later: readonly IndicatorSeries[]): IndicatorSeries[] {
  const merged = new Map(known.map((series) => [series.indicator, series]));
  for (const series of later) {
    const before = merged.get(series.indicator);
    if (!before) {
      merged.set(series.indicator, series);
      continue;
    }
    const points = new Map(before.points.map((point) => [point[0], point]));
    for (const point of series.points) points.set(point[0], point);
    merged.set(series.indicator, { ...series, points: [...points.values()].sort((a, b) => a[0] - b[0]) });
  }
  return [...merged.values()];
}

/** What is drawn before anybody chose: all that lie on the prices, and the first of those that do not. */
export function chosenAtFirst(plans: readonly Plan[]): string[] {
  const own = plans.find((one) => one.pane === "own");
  return plans.filter((one) => one.pane === "price" || one === own).map((one) => one.indicator);
}
