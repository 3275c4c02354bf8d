// The best of several sources' prices.

import { compare, subtract } from "../decimal.ts";
import type { DepthRow } from "../types.ts";

/** States in which a source's price takes part in the best one. */
const TAKES_PART = new Set(["fresh", "live"]);

export const takesPart = (row: DepthRow): boolean => TAKES_PART.has(row.state);

export interface BestOf {
  bid: string | null;
  ask: string | null;
  bidSource: string | null;
  askSource: string | null;
}

/** The highest bid and the lowest ask of those that take part; the engine's own, where it is among the rows. */
export function best(rows: readonly DepthRow[]): BestOf {
  const sources = rows.filter((row) => row.source !== "best" && takesPart(row));
  const pick = (side: "bid" | "ask", sign: 1 | -1): DepthRow | null => {
    const there = sources.filter((row) => row[side] !== null);
    return there.reduce<DepthRow | null>((top, row) => (top === null || sign * compare(row[side]!, top[side]!) > 0 ? row : top), null);
  };
  const [bid, ask] = [pick("bid", 1), pick("ask", -1)];
  const own = rows.find((row) => row.source === "best");
  return {
    bid: own?.bid ?? bid?.bid ?? null,
    ask: own?.ask ?? ask?.ask ?? null,
    bidSource: bid?.source ?? null,
    askSource: ask?.source ?? null,
  };
}

/** How many pips a spread is, exact to a tenth, as text. */
export function inPips(spread: string | null, pip: string): string | null {
  const found = spread === null ? null : /^(-?)(\d+)(?:\.(\d+))?$/.exec(spread);
  const unit = /^(\d+)(?:\.(\d+))?$/.exec(pip);
  if (!found || !unit) return null;
  const scale = Math.max(found[3]?.length ?? 0, unit[2]?.length ?? 0);
  const units = (whole: string, rest = ""): bigint => BigInt(whole + rest.padEnd(scale, "0"));
  const one = units(unit[1]!, unit[2]);
  if (one === 0n) return null;
  const tenths = (units(found[2]!, found[3]) * 20n + one) / (one * 2n);
  return `${found[1] && tenths !== 0n ? "-" : ""}${tenths / 10n}.${tenths % 10n}`;
}

/** Ask less bid. */
export const spreadOf = (bid: string | null, ask: string | null): string | null =>
  bid === null || ask === null ? null : subtract(ask, bid);
