import assert from "node:assert/strict";
import test from "node:test";
import { backoff, mergeRows } from "../sse.ts";

interface Row {
  symbol: string;
  bid: string;
}
const key = (row: Row) => row.symbol;
const euro = { symbol: "EURUSD", bid: "1.1" };
const gold = { symbol: "XAUUSD", bid: "2661" };

test("a change replaces its row and leaves the others as they are", () => {
  const before = mergeRows(new Map<string, Row>(), [euro, gold], key, true);
  const after = mergeRows(before, [{ symbol: "EURUSD", bid: "1.2" }], key, false);
  assert.equal(after.get("EURUSD")?.bid, "1.2");
  assert.equal(after.get("XAUUSD"), gold);
  assert.equal(before.get("EURUSD"), euro);
});

test("a snapshot drops what is gone", () => {
  const before = mergeRows(new Map<string, Row>(), [euro, gold], key, true);
  assert.deepEqual([...mergeRows(before, [gold], key, true).keys()], ["XAUUSD"]);
});

test("waits grow and are bounded", () => {
  assert.deepEqual([1, 2, 3, 50].map(backoff), [2000, 4000, 8000, 30_000]);
});
