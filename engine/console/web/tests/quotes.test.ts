import assert from "node:assert/strict";
import { test } from "node:test";
import { best, inPips } from "../live/best.ts";
import { dayEnd, dayStart } from "../live/dates.ts";
import { POINTS, Quotes, shown, spread } from "../live/quotes.ts";
import { trace } from "../live/sparkline.ts";
import type { DepthRow, Instrument, LiveQuote } from "../types.ts";

const quote = (symbol: string, bid: string | null, ask: string | null, more: Partial<LiveQuote> = {}): LiveQuote => ({
  symbol, bid, ask, bid_source: "a", ask_source: "b", spread_pips: null, state: "ok", at: "2026-11-21T12:00:00Z", ...more,
});
const NOW = Date.parse("2026-11-21T12:00:00Z");
const instrument: Instrument = { symbol: "EURUSD", class: "fx", digits: 5, pip: "0.0001", sources: ["a", "b"] };

test("a price that moved less than a float can tell still moved", () => {
  const quotes = new Quotes();
  quotes.apply([quote("X", "123456789.123456789", "2")], NOW, true);
  const { changed } = quotes.apply([quote("X", "123456789.123456788", "2")], NOW + 1);
  assert.deepEqual([changed[0]?.bid, changed[0]?.ask, changed[0]?.row.bidMove], [true, false, -1]);
});

test("a snapshot takes away symbols that are gone, a change does not", () => {
  const quotes = new Quotes();
  quotes.apply([quote("A", "1", "2"), quote("B", "1", "2")], NOW, true);
  assert.deepEqual(quotes.apply([quote("A", "1", "3")], NOW).gone, []);
  assert.deepEqual(quotes.apply([quote("A", "1", "3")], NOW, true).gone, ["B"]);
  assert.deepEqual([...quotes.rows.keys()], ["A"]);
});

test("the line is bounded, and what the engine remembers stands before what was seen", () => {
  const quotes = new Quotes();
  for (let n = 0; n < 3 * POINTS; n += 1) quotes.apply([quote("A", String(n + 1), String(n + 1))], NOW + n * 10_000);
  const row = quotes.rows.get("A")!;
  assert.equal(row.line.length, POINTS);
  assert.equal(row.line.at(-1), 3 * POINTS);
  quotes.apply([quote("B", "5", "5")], NOW);
  quotes.setLines({ B: ["1", "2", "3"], nobody: ["1"] });
  assert.deepEqual(quotes.rows.get("B")?.line, [1, 2, 3, 5]);
});

test("an age is never below zero where this clock is behind the engine's", () => {
  const quotes = new Quotes();
  quotes.apply([quote("A", "1", "2")], NOW - 60_000);
  assert.equal(quotes.ageMs(quotes.rows.get("A")!.quote, NOW - 60_000), 0);
  assert.equal(quotes.ageMs(quotes.rows.get("A")!.quote, NOW - 58_000), 2000);
});

test("rows are filtered by every word and sorted by exact spreads, what has none last", () => {
  const quotes = new Quotes();
  quotes.setInstruments(["EURUSD", "GBPUSD", "NONE"].map((symbol) => ({ ...instrument, symbol })));
  quotes.apply([quote("GBPUSD", "1.27100", "1.27110"), quote("NONE", null, "1"), quote("EURUSD", "1.10000", "1.10009", { state: "crossed" })], NOW);
  const rows = [...quotes.rows.values()];
  const names = (filter: string, isDescending = false): string[] => shown(rows, filter, { key: "spread", isDescending }).map(({ symbol }) => symbol);
  assert.deepEqual(names(""), ["EURUSD", "GBPUSD", "NONE"]);
  assert.deepEqual(names("usd fx", true), ["GBPUSD", "EURUSD"]);
  assert.deepEqual(names("eur crossed"), ["EURUSD"]);
  assert.deepEqual(names("eur stale"), []);
  assert.equal(spread(quotes.rows.get("EURUSD")!), "0.9");
});

test("pips are exact to a tenth, whatever the pip", () => {
  assert.equal(inPips("0.00009", "0.0001"), "0.9");
  assert.equal(inPips("-0.00015", "0.0001"), "-1.5");
  assert.equal(inPips("0.28", "0.1"), "2.8");
  assert.equal(inPips("4.20", "1"), "4.2");
  assert.equal(inPips("0.000004", "0.0001"), "0.0");
  assert.equal(inPips(null, "0.0001"), null);
  assert.equal(inPips("1", "0"), null);
});

test("the best of the sources leaves out those that do not count", () => {
  const row = (source: string, bid: string | null, ask: string | null, state = "fresh"): DepthRow => ({ source, bid, ask, bid_size: null, ask_size: null, at: null, state });
  const found = best([row("a", "1.1", "1.3"), row("b", "1.10", "1.2"), row("c", "1.9", "1.0", "stale"), row("d", null, null)]);
  assert.deepEqual(found, { bid: "1.1", ask: "1.2", bidSource: "a", askSource: "b" });
  assert.deepEqual(best([]), { bid: null, ask: null, bidSource: null, askSource: null });
});

test("a line that stands still is a line, and the newest point is at the right", () => {
  assert.deepEqual(trace([5, 5], 100, 20, 11), [[90, 10], [100, 10]]);
  assert.deepEqual(trace([1, 3, 2], 100, 20, 3), [[0, 20], [50, 0], [100, 10]]);
});

test("days are whole days of UTC", () => {
  assert.equal(dayStart("2026-02-28"), "2026-02-28T00:00:00Z");
  assert.equal(dayEnd("2026-02-28"), "2026-03-01T00:00:00Z");
  assert.equal(dayStart("28.2.2026"), null);
  assert.equal(dayEnd(""), null);
});
