// The bars of one chart: pages of stored ones, the one that is forming, and the places where some are missing.

import type { Bar, Ohlc } from "../types.ts";
import { isEven, seconds } from "./timeframes.ts";

/** Which price of the bars is drawn. `last`: prices of trades. */
export type Side = "bid" | "ask" | "mid" | "last";

/** What a live bar did to the bars that are there. */
export type Change =
  /** It took the place of an older bar. */
  | "changed"
  /** It is the newest now, or was and still is. */
  | "newest"
  /** It is the newest, and between it and the one before there may be others that are not here. */
  | "apart"
  /** It is older than what is known. */
  | "ignored";

/** A place on the time axis: with a bar, or where one is missing. */
export interface Slot {
  t: number;
  bar: Bar | null;
}

/** A hole in a source's data, in seconds; `to` is `null` while it is open. */
export interface Hole {
  from: number;
  to: number | null;
}

/** Missing bars that one hole may show: a longer hole is drawn shorter. */
const MISSING_MAX = 120;

/** Whether `later` says more about the same time than `known`. */
function supersedes(later: Bar, known: Bar): boolean {
  if (later.revision !== known.revision) return later.revision > known.revision;
  return !(later.state === "provisional" && known.state !== "provisional");
}

/** Bars of one source, symbol and timeframe, oldest first, each time once. */
export class Bars {
  readonly timeframe: string;
  private list: Bar[] = [];
  private cursor: string | null = null;
  private pages = 0;

  constructor(timeframe: string) {
    this.timeframe = timeframe;
  }

  get all(): readonly Bar[] {
    return this.list;
  }

  get newest(): Bar | null {
    return this.list.at(-1) ?? null;
  }

  get oldest(): Bar | null {
    return this.list[0] ?? null;
  }

  /** Where the next older page begins; `null` when there is none. */
  get next(): string | null {
    return this.cursor;
  }

  /** Takes a page as the API gives it, newest first. `next` moves the place from which older ones are asked. */
  addPage(page: readonly Bar[], next: string | null): void {
    this.merge(page);
    this.cursor = next;
    this.pages += 1;
  }

  /** Takes the newest page once more, as after a lost connection: the place of older ones stays. */
  refresh(page: readonly Bar[], next: string | null): void {
    const reaches = this.list.length === 0 || page.length === 0 || page.at(-1)!.t <= this.newest!.t || next === null;
    // Between the page and what was known there may be others: what was known is let go.
    if (!reaches) this.list = [];
    if (!reaches || this.pages === 0) {
      this.cursor = next;
      this.pages = 1;
    }
    this.merge(page);
  }

  /** Whether bars are missing among the newest: they may be on their way to the database. */
  get isTornAtEnd(): boolean {
    const step = seconds(this.timeframe);
    const end = this.list.slice(-4);
    return isEven(this.timeframe) && end.some((bar, n) => n > 0 && bar.t - end[n - 1]!.t > step);
  }

  /** Takes the bar that is forming, or one that was revised. */
  live(bar: Bar): Change {
    const last = this.newest;
    if (last === null || bar.t > last.t) {
      const isApart = last !== null && isEven(this.timeframe) && bar.t > last.t + seconds(this.timeframe);
      this.list.push(bar);
      return isApart || last === null ? "apart" : "newest";
    }
    const at = indexAt(this.list, bar.t);
    const known = this.list[at];
    if (known?.t !== bar.t || !supersedes(bar, known)) return "ignored";
    this.list[at] = bar;
    return at === this.list.length - 1 ? "newest" : "changed";
  }

  /** The bar that opened at the time. */
  at(t: number): Bar | null {
    const found = this.list[indexAt(this.list, t)];
    return found?.t === t ? found : null;
  }

  private merge(page: readonly Bar[]): void {
    const byTime = new Map(this.list.map((bar) => [bar.t, bar]));
    for (const bar of page) {
      const known = byTime.get(bar.t);
      if (!known || supersedes(bar, known)) byTime.set(bar.t, bar);
    }
    this.list = [...byTime.values()].sort((a, b) => a.t - b.t);
  }
}

/** Index of the last entry at or before the time; -1 before the first. */
export function indexAt(list: readonly { t: number }[], t: number): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle]!.t <= t) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** What stands in for a side that a bar does not have, in this order. */
const INSTEAD: readonly Side[] = ["mid", "bid", "last", "ask"];

/**
 * The side of a bar that is shown where another was asked for: venues tell the past in their own way, some as bids alone,
 * exchanges as prices of trades, and a chart reaches back all the same.
 */
export function sideOf(bar: Bar | null, asked: Side): Side {
  if (!bar || bar[asked]) return asked;
  return INSTEAD.find((side) => bar[side]) ?? asked;
}

/** The four prices of a side, or of what stands in for it, as text. */
export const pricesOf = (bar: Bar | null, side: Side): Ohlc | null => bar?.[sideOf(bar, side)] ?? null;

/**
 * The bars with empty places where a known hole swallowed some. A market that was closed leaves none: nothing is
 * missing there.
 */
export function withMissing(bars: readonly Bar[], holes: readonly Hole[], timeframe: string): Slot[] {
  const slots: Slot[] = [];
  const step = seconds(timeframe);
  for (const [index, bar] of bars.entries()) {
    slots.push({ t: bar.t, bar });
    const after = bars[index + 1];
    if (!after || !isEven(timeframe) || after.t - bar.t <= step) continue;
    let room = MISSING_MAX;
    for (let t = bar.t + step; t < after.t && room > 0; t += step) {
      // Only where the whole bar lies in a hole or a hole touches it.
      if (!holes.some((hole) => hole.from < t + step && (hole.to ?? Number.POSITIVE_INFINITY) > t)) continue;
      slots.push({ t, bar: null });
      room -= 1;
    }
  }
  return slots;
}

/** Where a time stands among the slots, in units of slots: a slot `i` reaches from `i - 0.5` to `i + 0.5`. */
export function position(slots: readonly Slot[], t: number, timeframe: string): number {
  const at = indexAt(slots, t);
  if (at < 0) return -0.5;
  const share = Math.min((t - slots[at]!.t) / seconds(timeframe), 1);
  return at - 0.5 + share;
}

/** The part of the axis that a hole covers; `null` when it lies outside of what is known. */
export function extent(slots: readonly Slot[], hole: Hole, timeframe: string): [number, number] | null {
  const first = slots[0];
  const last = slots.at(-1);
  if (!first || !last) return null;
  const step = seconds(timeframe);
  // What began after the newest bar has no place yet, and neither has what ended before the oldest.
  if ((hole.to ?? Number.POSITIVE_INFINITY) <= first.t || hole.from >= last.t + step) return null;
  const to = hole.to === null ? slots.length - 0.5 : position(slots, hole.to, timeframe);
  return [position(slots, hole.from, timeframe), to];
}
