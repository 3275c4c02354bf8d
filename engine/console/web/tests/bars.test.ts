import assert from "node:assert/strict";
import { test } from "node:test";
import { Bars, extent, position, pricesOf, sideOf, withMissing } from "../chart/bars.ts";
import { sorted } from "../chart/timeframes.ts";
import type { Bar } from "../types.ts";

const bar = (t: number, close = "1.10", more: Partial<Bar> = {}): Bar => ({
  t, bid: ["1.10", "1.12", "1.09", close], ask: null, mid: null, last: null, ticks: 5, volume: null, revision: 0, origin: "own", state: "final", ...more,
});
const times = (bars: Bars): number[] => bars.all.map(({ t }) => t);

test("pages come newest first, overlap, and are kept oldest first, each time once", () => {
  const bars = new Bars("M1");
  bars.addPage([bar(300), bar(240), bar(180)], "180");
  bars.addPage([bar(180), bar(120), bar(60)], null);
  assert.deepEqual(times(bars), [60, 120, 180, 240, 300]);
  assert.equal(bars.next, null);
});

test("a forming bar replaces itself, a stored one is not undone by a late forming one", () => {
  const bars = new Bars("M1");
  bars.addPage([bar(120), bar(60)], "60");
  assert.equal(bars.live(bar(180, "1.11", { state: "provisional" })), "newest");
  assert.equal(bars.live(bar(180, "1.12", { state: "provisional" })), "newest");
  assert.equal(bars.newest?.bid?.[3], "1.12");
  assert.equal(bars.live(bar(120, "9.99", { state: "provisional" })), "ignored");
  assert.equal(bars.at(120)?.bid?.[3], "1.10");
  assert.equal(bars.live(bar(120, "1.15", { state: "revised", revision: 1 })), "changed");
  assert.equal(bars.at(120)?.bid?.[3], "1.15");
  assert.equal(bars.live(bar(120, "1.14", { revision: 0 })), "ignored");
});

test("a live bar that leaves out others says so; days leave out weekends without a word", () => {
  const minutes = new Bars("M1");
  minutes.addPage([bar(60)], null);
  assert.equal(minutes.live(bar(240)), "apart");
  const days = new Bars("D1");
  days.addPage([bar(86_400)], null);
  assert.equal(days.live(bar(4 * 86_400)), "newest");
});

test("after a long absence the newest page replaces what cannot be joined to it", () => {
  const bars = new Bars("M1");
  bars.addPage([bar(120), bar(60)], "60");
  bars.refresh([bar(240), bar(180), bar(120)], "120");
  assert.deepEqual(times(bars), [60, 120, 180, 240]);
  assert.equal(bars.next, "60", "older ones are still asked from where they were");
  bars.refresh([bar(900), bar(840)], "840");
  assert.deepEqual(times(bars), [840, 900]);
  assert.equal(bars.next, "840");
});

test("a live bar that came before the first page stays, and what is missing before it is seen", () => {
  const bars = new Bars("M1");
  bars.live(bar(300, "1.11", { state: "provisional" }));
  bars.refresh([bar(180), bar(120)], "120");
  assert.deepEqual(times(bars), [120, 180, 300]);
  assert.deepEqual([bars.next, bars.isTornAtEnd], ["120", true]);
  bars.refresh([bar(240), bar(180), bar(120)], "120");
  assert.deepEqual([times(bars), bars.isTornAtEnd], [[120, 180, 240, 300], false]);
});

test("a hole has room on the axis, a closed market has none", () => {
  const slots = withMissing([bar(60), bar(300), bar(900)], [{ from: 130, to: 290 }], "M1");
  const shown = slots.map(({ t, bar }) => [t, bar !== null]);
  assert.deepEqual(shown, [[60, true], [120, false], [180, false], [240, false], [300, true], [900, true]]);
});

test("a hole of a week does not push the candles out of sight", () => {
  const week = 7 * 86_400;
  assert.equal(withMissing([bar(0), bar(week)], [{ from: 60, to: week }], "M1").length, 122);
});

test("times between bars stand between slots, and holes where they were", () => {
  const slots = withMissing([bar(60), bar(120), bar(600)], [], "M1");
  assert.equal(position(slots, 60, "M1"), -0.5);
  assert.equal(position(slots, 90, "M1"), 0);
  assert.equal(position(slots, 400, "M1"), 1.5, "closed market: after the bar before");
  assert.deepEqual(extent(slots, { from: 90, to: 150 }, "M1"), [0, 1]);
  assert.deepEqual(extent(slots, { from: 630, to: null }, "M1"), [2, 2.5]);
  assert.equal(extent(slots, { from: 0, to: 50 }, "M1"), null);
  assert.equal(extent(slots, { from: 700, to: null }, "M1"), null);
});

test("a side that a venue does not tell is stood in for, and that is known", () => {
  const trades = bar(120, "1.10", { bid: null, last: ["1", "3", "1", "2"] });
  assert.deepEqual([sideOf(bar(60), "bid"), sideOf(bar(60), "ask"), sideOf(trades, "mid")], ["bid", "bid", "last"]);
  assert.deepEqual(pricesOf(trades, "bid"), ["1", "3", "1", "2"]);
  assert.equal(pricesOf(bar(60, "1", { bid: null }), "bid"), null);
});

test("lengths stand by length", () => {
  assert.deepEqual(sorted(["MN", "H1", "M5", "M1", "X9", "H1"]), ["M1", "M5", "H1", "MN", "X9"]);
});
