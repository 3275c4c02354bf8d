import assert from "node:assert/strict";
import { test } from "node:test";
import type { Query } from "../api.ts";
import { type Asks, ChartData, common } from "../chart/data.ts";
import type { Bar, Gap } from "../types.ts";

const bar = (t: number): Bar => ({ t, bid: ["1", "1", "1", "1"], ask: null, mid: null, last: null, ticks: 1, volume: null, revision: 0, origin: "own", state: "final" });
const gap = (source: string, from: string, to: string | null): Gap => ({ epoch: 1, id: 1, source, symbol: "EURUSD", from, to, cause: "mute", state: "closed", lost: null, repairable: false });

/** An engine with bars of the minutes 1 to `last`, in pages of three. */
function engine(last: number, gaps: Gap[] = []) {
  const asked: { path: string; query: Query }[] = [];
  const asks: Asks = {
    bars: async (query) => {
      asked.push({ path: "bars", query });
      const before = query.before ? Number(query.before) : Number.POSITIVE_INFINITY;
      const all = Array.from({ length: last }, (_, n) => bar((n + 1) * 60)).reverse().filter(({ t }) => t < before);
      const page = all.slice(0, 3);
      return { bars: page, next: all.length > 3 ? String(page.at(-1)!.t) : null };
    },
    indicators: async (query) => {
      asked.push({ path: "indicators", query });
      const [from, to] = [Date.parse(String(query.from)) / 1000, Date.parse(String(query.to)) / 1000];
      const points: [number, number][] = [];
      for (let t = from; t < to; t += 60) points.push([t, 1]);
      return { series: [{ indicator: "EMA(20)", outputs: ["ema"], points }] };
    },
    gaps: async () => ({ gaps }),
  };
  return { asks, asked };
}

const subject = { symbol: "EURUSD", source: "best", timeframe: "M1" };
const minutes = (data: ChartData): number[] => data.bars.all.map(({ t }) => t / 60);

test("older pages are asked one at a time, with the indicators of the same stretch, until there are none", async () => {
  const { asks, asked } = engine(7);
  const data = new ChartData(subject, asks, () => {});
  await data.start();
  await Promise.all([data.older(), data.older()]);
  assert.deepEqual(minutes(data), [2, 3, 4, 5, 6, 7]);
  await data.older();
  await data.older();
  data.stop();
  assert.deepEqual(minutes(data), [1, 2, 3, 4, 5, 6, 7]);
  assert.equal(asked.filter(({ path }) => path === "bars").length, 3);
  assert.deepEqual(data.indicators[0]?.points.map(([t]) => t / 60), [1, 2, 3, 4, 5, 6, 7]);
});

test("a failed page leaves what is there, says why, and may be asked again", async () => {
  const { asks } = engine(7);
  let fails = false;
  const data = new ChartData(subject, { ...asks, bars: (query) => (fails ? Promise.reject(new Error("away")) : asks.bars(query)) }, () => {}, 0);
  await data.start();
  fails = true;
  await data.older();
  assert.equal(data.error?.message, "away");
  assert.equal(data.bars.all.length, 3);
  fails = false;
  await data.older();
  data.stop();
  assert.equal(data.bars.all.length, 6);
  assert.equal(data.error, null);
});

test("after it is stopped nothing is told any more", async () => {
  const { asks } = engine(3);
  const told: string[] = [];
  const data = new ChartData(subject, asks, (what) => told.push(what));
  const started = data.start();
  data.stop();
  const before = told.length;
  await started;
  assert.equal(told.length, before);
});

test("the best price has a hole only where every source has one", async () => {
  const of = (minute: number): string => new Date(minute * 60_000).toISOString();
  const { asks } = engine(3, [gap("a", of(1), of(5)), gap("b", of(4), null)]);
  const data = new ChartData(subject, asks, () => {});
  await data.start();
  data.stop();
  assert.deepEqual(data.holes().whole, [], "not before it is known who there is");
  data.sources = ["a", "b"];
  assert.deepEqual(data.holes().whole, [{ from: 240, to: 300 }]);
  assert.equal(data.holes().part.length, 2);
  assert.deepEqual(common([{ from: 0, to: null }], [{ from: 9, to: null }]), [{ from: 9, to: null }]);
  assert.deepEqual(common([{ from: 0, to: 5 }], [{ from: 5, to: 9 }]), []);
});
