import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateSync } from "node:zlib";
import { CANDLE_DOWN, CANDLE_UP } from "../chart/colours.ts";
import { chosenAtFirst, mergeSeries, plan, pointsOf } from "../chart/indicators.ts";
import { withMissing } from "../chart/bars.ts";
import { ZonedScale, markText } from "../chart/scale.ts";
import { DOWN, UP, candlesDrawn } from "../e2e/candles.mjs";
import { decades, share, ticks } from "../live/scale.ts";
import { PARTS, rankings, reason } from "../live/score.ts";
import type { Bar, IndicatorSeries, SourceSummary } from "../types.ts";

type Rgb = [number, number, number];
type Box = [x: number, y: number, width: number, height: number, colour: Rgb];

/** A PNG of one colour with boxes on it. */
function picture(width: number, height: number, boxes: Box[]): Buffer {
  const stride = width * 3 + 1;
  const rows = Buffer.alloc(stride * height, 0x20);
  for (let y = 0; y < height; y += 1) rows[y * stride] = 0;
  for (const [x, y, w, h, colour] of boxes) {
    for (let j = y; j < y + h; j += 1) for (let i = x; i < x + w; i += 1) rows.set(colour, j * stride + 1 + i * 3);
  }
  const chunk = (kind: string, body: Buffer): Buffer => {
    const head = Buffer.alloc(8);
    head.writeUInt32BE(body.length);
    head.write(kind, 4, "latin1");
    return Buffer.concat([head, body, Buffer.alloc(4)]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10]);
  return Buffer.concat([signature, chunk("IHDR", header), chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))]);
}
const rgb = (hex: string): Rgb => [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)) as Rgb;

test("candles are told from an empty chart, a block, a line and a row of equal buttons", () => {
  assert.deepEqual([UP, DOWN], [rgb(CANDLE_UP), rgb(CANDLE_DOWN)], "the browser test looks for the chart's own colours");
  const [up, down] = [rgb(CANDLE_UP), rgb(CANDLE_DOWN)];
  const twenty = (of: (n: number) => Box): Box[] => Array.from({ length: 20 }, (_, n) => of(n));
  const look = (boxes: Box[]) => candlesDrawn(picture(200, 100, boxes));
  const found = look(twenty((n) => [n * 8, 20 + ((n * 7) % 30), 6, 5 + (n % 9), n % 3 ? up : down]));
  assert.deepEqual([found.isDrawn, found.candles, found.up, found.down], [true, 20, 13, 7]);
  const touching = look(twenty((n) => [n * 8, 20 + ((n * 7) % 30), 8, 5 + (n % 9), n % 2 ? up : down]));
  assert.equal(touching.candles, 20, "neighbours of other colours without a space");
  assert.equal(look([]).isDrawn, false);
  assert.equal(look([[0, 0, 150, 80, up]]).isDrawn, false);
  assert.equal(look([[0, 50, 200, 1, up]]).isDrawn, false);
  assert.equal(look(twenty((n) => [n * 9, 10, 6, 6, n % 2 ? up : down])).isDrawn, false);
});

const series = (indicator: string, outputs: string[], values: (number | null)[]): IndicatorSeries => ({
  indicator, outputs, points: values.map((value, n) => [n * 60, ...outputs.map(() => value)]),
});

test("averages lie on the prices, oscillators below them with their levels", () => {
  const on = (name: string, outputs: string[], value: number) => plan(series(name, outputs, [value]), 1.09, 1.12);
  assert.equal(on("EMA(20)", ["ema"], 1.1).pane, "price");
  const bands = on("BB(20,2)", ["upper", "middle", "lower", "deviation"], 1.1);
  assert.deepEqual(bands.lines.map(({ output, kind }) => [output, kind]), [["upper", "line"], ["middle", "dashed"], ["lower", "line"]]);
  assert.deepEqual([on("RSI(14)", ["rsi"], 55).pane, on("RSI(14)", ["rsi"], 55).levels], ["own", [30, 70]]);
  assert.equal(on("MACD(12,26,9)", ["macd", "signal", "histogram"], 0.001).lines[2]?.kind, "histogram");
  assert.ok(on("ATR(14)", ["atr", "true range"], 0.0004).digits > 3, "small values need digits");
  assert.equal(on("ALMA(9)", ["alma"], 1.105).pane, "price", "an unknown family goes where its values are");
  assert.equal(on("OBV", ["obv"], 5_000_000).pane, "own");
  const plans = [on("EMA(20)", ["ema"], 1.1), on("CCI(20)", ["cci"], 5), on("RSI(14)", ["rsi"], 50)];
  assert.deepEqual(chosenAtFirst(plans), ["EMA(20)", "CCI(20)"]);
});

test("points that come again replace, others stay in order", () => {
  const merged = mergeSeries([series("EMA(20)", ["ema"], [1, 2, 3])], [{ indicator: "EMA(20)", outputs: ["ema"], points: [[60, 9], [180, 4]] }]);
  assert.deepEqual(merged[0]?.points, [[0, 1], [60, 9], [120, 3], [180, 4]]);
});

test("a line ends where bars are missing, not where the market was closed", () => {
  const bar = (t: number): Bar => ({ t, bid: null, ask: null, mid: null, last: null, ticks: 1, volume: null, revision: 0, origin: "own", state: "final" });
  // Minutes 0 and 1, a hole of two minutes, 4 and 5, a closed market, 60 and 61.
  const bars = [0, 1, 4, 5, 60, 61].map((minute) => bar(minute * 60));
  const slots = withMissing(bars, [{ from: 130, to: 230 }], "M1");
  const places = new Map(slots.map(({ t }, n) => [t, n]));
  const ema: IndicatorSeries = { indicator: "EMA(20)", outputs: ["ema"], points: bars.map(({ t }, n) => [t, n === 4 ? null : n]) };
  const ends = (one: IndicatorSeries) => pointsOf(one, { output: "ema", index: 1, kind: "line" }, places).map(({ t, isEnd }) => [t / 60, isEnd]);
  assert.deepEqual(ends(ema), [[0, false], [1, true], [4, false], [5, true], [61, false]]);
  assert.deepEqual(ends({ ...ema, points: bars.map(({ t }) => [t, 1]) }).filter(([, isEnd]) => isEnd), [[1, true]]);
  assert.deepEqual(ends({ ...ema, points: [[-60, 1], [0, 1], [7200, 1]] }), [[0, false]]);
});

test("in New York days begin at its midnight, and the hour that comes twice is two hours", () => {
  const scale = new ZonedScale();
  scale.zone = "America/New_York";
  // At 04:00 UTC it is midnight in New York; at 06:00 UTC its clocks go back from 02:00 to 01:00.
  const start = Date.parse("2026-11-01T02:00:00Z") / 1000;
  const times = Array.from({ length: 7 }, (_, n) => start + n * 3600);
  const points = times.map((t) => ({ timeWeight: 0, originalTime: t, time: scale.convertHorzItemToInternal(t as never) }));
  scale.fillWeightsForPoints(points as never, 0);
  const DAY = 50;
  const begins = points.map(({ timeWeight }) => timeWeight >= DAY);
  assert.deepEqual(begins, [false, false, true, false, false, false, false]);
  assert.deepEqual([5, 6].map((hour) => markText(Date.parse(`2026-11-01T0${hour}:30:00Z`) / 1000, 3, "America/New_York")), ["01:30", "01:30"]);
  assert.equal(markText(start + 7200, 2, "America/New_York"), "1 Nov");
  assert.equal(markText(start + 7200, 3, "UTC"), "04:00");
});

test("latencies on a scale of powers of ten", () => {
  assert.deepEqual(decades([180, 9_000]), [2, 4]);
  assert.deepEqual(decades([]), [2, 5]);
  assert.deepEqual(decades([1000]), [3, 5]);
  assert.equal(share(1000, [2, 4]), 0.5);
  assert.equal(share(0, [2, 4]), 0);
  assert.deepEqual(ticks([2, 4]), [100, 1000, 10_000]);
});

test("sources are ranked by score, then priority, and each is told why", () => {
  const of = (source: string, score: number, priority: number, latency = 15): SourceSummary => ({
    symbol: "EURUSD", source, score, parts: { uptime: 40, completeness: 20, latency, spread: 15, rejects: 10 }, uptime_percent: 100, completeness_percent: 100,
    latency_p50_ms: 1, latency_p99_ms: 2, avg_spread: "0.0001", ticks_per_second: 1, rejects: 0, best_share_percent: 50, priority,
  });
  const [ranking] = rankings([of("c", 92, 1, 7), of("b", 100, 2), of("a", 100, 1)], { EURUSD: "a" });
  assert.deepEqual(ranking!.sources.map(({ source }) => source), ["a", "b", "c"]);
  assert.equal(reason(ranking!, ranking!.sources[0]!), "As good as b; its priority decides.");
  assert.equal(reason(ranking!, ranking!.sources[2]!), "Loses 8.0 of 15 on latency.");
  assert.equal(PARTS.reduce((sum, { max }) => sum + max, 0), 100);
});
