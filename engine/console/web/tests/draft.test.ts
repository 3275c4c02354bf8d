import assert from "node:assert/strict";
import test from "node:test";
import { canonicalOf, draftOf, typedOf } from "../parts/connection/draft.ts";
import { matches } from "../match.ts";
import { sentence } from "../api.ts";
import type { Adapter, AdapterField, Connection } from "../types.ts";

const field = (key: string, kind: AdapterField["kind"], more: Partial<AdapterField> = {}): AdapterField =>
  ({ key, title: key, kind, choices: null, default: null, required: true, help: null, ...more });
const adapter: Adapter = {
  adapter: "json-ws", title: "JSON", approved: true, has_history: true, has_tick_history: false, has_symbols: true, has_account: false, timeframes: ["M1", "H1", "D1"],
  fields: [field("base_url", "url", { default: "https://a" }), field("token", "secret"), field("poll_ms", "number", { required: false, default: "1000" }), field("fields.bid", "text"), field("deep", "boolean", { required: false, default: "true" })],
};

test("a new draft sends what was typed, numbers as numbers, and leaves defaults to the engine", () => {
  const typed = typedOf(adapter, null, true);
  typed.name = " feed ";
  typed.secrets.token = "s";
  typed.config["fields.bid"] = "b";
  typed.symbols = [{ canonical: "EURUSD", venue: "EURUSD.r" }];
  typed.retentionDays = "30";
  const draft = draftOf(typed, adapter, null);
  assert.deepEqual(draft.config, { base_url: "https://a", "fields.bid": "b", deep: true });
  assert.deepEqual([draft.name, draft.private, draft.retention_days], ["feed", true, 30]);
  assert.deepEqual(draft.symbols, { EURUSD: "EURUSD.r" });
  assert.deepEqual(draft.timeframes, ["M1", "H1"]);
});

test("an edited connection keeps its secrets when none is typed", () => {
  const existing = { name: "feed", provider: null, owner: null, config: { base_url: "https://b", fields: { bid: "b" }, poll_ms: 5 }, secrets: ["token"], symbols: { XAUUSD: "GOLD" }, timeframes: ["D1"], stores_ticks: false, retention_days: null } as unknown as Connection;
  const draft = draftOf(typedOf(adapter, existing, false), adapter, existing);
  assert.deepEqual(draft.secrets, {});
  assert.deepEqual(draft.config, { base_url: "https://b", poll_ms: 5, "fields.bid": "b", deep: true });
  assert.deepEqual([draft.symbols, draft.timeframes, draft.stores_ticks], [{ XAUUSD: "GOLD" }, ["D1"], false]);
});

test("a key that is emptied is taken away, a symbol that is removed is not described", () => {
  const existing = { name: "feed", provider: "Broker", owner: null, config: { base_url: "https://b", poll_ms: 5, deep: false }, secrets: [], symbols: { ODD: "odd" }, timeframes: [], stores_ticks: true, retention_days: 9 } as unknown as Connection;
  const typed = typedOf(adapter, existing, false);
  typed.config.poll_ms = "";
  typed.provider = "";
  typed.instruments = { ODD: { class: "index", digits: 1, pip: "1" }, GONE: { class: "fx", digits: 5, pip: "0.0001" } };
  const draft = draftOf(typed, adapter, existing);
  assert.deepEqual([draft.config.poll_ms, draft.config.deep, draft.provider], [null, false, ""]);
  assert.deepEqual(Object.keys(draft.instruments), ["ODD"]);
});

test("venue's names become canonical ones", () => {
  assert.deepEqual(["EUR_USD", "EURUSD.r", "btc-usdt", "US500#", "#US30"].map(canonicalOf), ["EURUSD", "EURUSD", "BTCUSDT", "US500", "US30"]);
});

test("addresses with odd names are taken apart, broken ones are no page", () => {
  assert.deepEqual(matches("/connections/:name", "/connections/a%2Fb"), { name: "a/b" });
  assert.equal(matches("/connections/:name", "/connections/%E0%A4%A"), null);
  assert.equal(matches("/connections/:name", "/connections"), null);
});

test("messages become sentences, names stay as they are", () => {
  assert.equal(sentence("name or password is wrong"), "Name or password is wrong.");
  assert.equal(sentence("base_url: expected an address"), "base_url: expected an address.");
});
