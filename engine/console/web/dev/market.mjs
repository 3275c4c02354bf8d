// Instruments, bars, ticks, indicators, live prices, sources, gaps.
import { ago, empty, events, fail, iso, missing, now, paged, random } from "./kit.mjs";

const SYMBOLS = [
  ["EURUSD", "fx", 5, "0.0001", 1.08432, 0.00007], ["GBPUSD", "fx", 5, "0.0001", 1.27114, 0.00010],
  ["USDJPY", "fx", 3, "0.01", 154.872, 0.011], ["XAUUSD", "metal", 2, "0.1", 2661.45, 0.28],
  ["BTCUSD", "crypto", 2, "1", 98214.31, 4.2], ["ETHUSD", "crypto", 2, "0.1", 3391.08, 0.31],
  ["US500", "index", 1, "1", 5968.2, 0.5], ["SOLUSD", "crypto", 3, "0.01", 254.117, 0.021],
];
// As many more as MANY says, to see that the live table stays smooth.
for (let n = 0; n < Number(process.env.MANY ?? 0); n += 1) SYMBOLS.push([`ALT${String(n).padStart(3, "0")}`, "crypto", 4, "0.01", 10 + n, 0.004]);
const SOURCES = ["oanda-demo", "mtapi-icm", "binance", "fix-lmax"];
const SECONDS = { S1: 1, S5: 5, S15: 15, S30: 30, M1: 60, M5: 300, M15: 900, M30: 1800, H1: 3600, H4: 14400, D1: 86400, W1: 604800, MN: 2592000 };
const find = (symbol) => SYMBOLS.find(([name]) => name === symbol) ?? missing(symbol);

/** A price that wanders, the same at the same second. */
function priceAt(symbol, seconds) {
  const [, , , , base] = find(symbol);
  const seed = symbol.charCodeAt(0) + symbol.charCodeAt(1) * 7;
  let value = 0;
  for (const [period, share] of [[86400 * 23, 0.02], [86400 * 3, 0.008], [14400, 0.002], [2700, 0.0011], [410, 0.0005], [53, 0.0002], [11, 0.00008]]) {
    value += share * Math.sin((seconds / period) * 6.283 + seed * period);
  }
  return base * (1 + value);
}
const quoteAt = (symbol, seconds, source = 0) => {
  const [, , digits, , , spread] = find(symbol);
  const mid = priceAt(symbol, seconds) + spread * 0.2 * Math.sin(seconds + source);
  const half = (spread / 2) * (1 + source * 0.35);
  return [(mid - half).toFixed(digits), (mid + half).toFixed(digits)];
};

function bar(symbol, t, step, source) {
  const [, , digits, , , spread] = find(symbol);
  const end = Math.min(t + step, now() / 1000);
  const points = Array.from({ length: 13 }, (_, i) => priceAt(symbol, t + ((end - t) * i) / 12));
  const [o, c, h, l] = [points[0], points[12], Math.max(...points), Math.min(...points)];
  const side = (shift) => [o, h, l, c].map((price) => (price + shift).toFixed(digits));
  const open = t + step > now() / 1000;
  return { t, bid: side(-spread / 2), ask: side(spread / 2), mid: side(0), last: null, ticks: Math.round(step * 3.1), volume: null, revision: t % 7 === 0 ? 1 : 0, origin: "own", state: open ? "provisional" : "final" };
}

function bars({ query }) {
  const step = SECONDS[query.timeframe] ?? fail(422, "wrong_value", `timeframe: ${query.timeframe}, expected M1 to MN`, "timeframe");
  find(query.symbol);
  if (empty) return { bars: [], next: null };
  const limit = Math.min(Number(query.limit ?? 100), 1000);
  const when = (text, otherwise) => (text === undefined ? otherwise : /^\d+$/.test(text) ? Number(text) : Date.parse(text) / 1000);
  let t = Math.floor(Math.min(when(query.to, now() / 1000), when(query.before, Infinity) - 1) / step) * step;
  const first = Math.max(when(query.from, 0), now() / 1000 - Math.max(step * 20000, 86400 * 30));
  const list = [];
  while (list.length < limit && t >= first) {
    // A hole of two hours each week, so that gaps can be seen.
    if (!(step < 7200 && t % 604800 > 200000 && t % 604800 < 207200)) list.push(bar(query.symbol, t, step, query.source ?? "best"));
    t -= step;
  }
  return { bars: list, next: t >= first && list.length ? String(list.at(-1).t) : null };
}

function csv({ query, response }) {
  const rows = bars({ query: { ...query, limit: 1000 } }).bars.reverse();
  response.writeHead(200, { "Content-Type": "text/csv", "Content-Disposition": `attachment; filename="${query.symbol}-${query.timeframe}.csv"` });
  response.end(["time,open,high,low,close", ...rows.map((row) => [iso(row.t * 1000), ...row.bid].join(","))].join("\n"));
  return "handled";
}

function indicators({ query }) {
  const list = bars({ query: { ...query, limit: query.limit ?? 500 } }).bars.reverse();
  const closes = list.map((row) => Number(row.mid[3]));
  const mean = (n) => list.map((row, i) => [row.t, i + 1 < n ? null : closes.slice(i + 1 - n, i + 1).reduce((a, b) => a + b) / n]);
  const band = list.map((row, i) => {
    if (i < 19) return [row.t, null, null, null, null];
    const part = closes.slice(i - 19, i + 1);
    const m = part.reduce((a, b) => a + b) / 20;
    const d = Math.sqrt(part.reduce((a, b) => a + (b - m) ** 2, 0) / 20);
    return [row.t, m + 2 * d, m, m - 2 * d, d];
  });
  return { series: [
    { indicator: "EMA(20)", outputs: ["ema"], points: mean(20) },
    { indicator: "SMA(50)", outputs: ["sma"], points: mean(50) },
    { indicator: "BB(20,2)", outputs: ["upper", "middle", "lower", "deviation"], points: band },
    { indicator: "RSI(14)", outputs: ["rsi"], points: list.map((row, i) => [row.t, i < 14 ? null : 50 + 28 * Math.sin(row.t / 3000)]) },
  ] };
}

const state = (symbol) => (symbol === "SOLUSD" ? "single" : symbol === "US500" ? "stale" : "ok");
function quote(symbol, at) {
  const [, , , pip] = find(symbol);
  const [bid, ask] = quoteAt(symbol, at / 1000);
  const source = SOURCES[Math.floor(at / 9000) % 3];
  return { symbol, bid, ask, bid_source: source, ask_source: symbol === "SOLUSD" ? source : SOURCES[Math.floor(at / 7000) % 4], spread_pips: (ask - bid) / Number(pip), state: state(symbol), at: iso(symbol === "US500" ? at - 45_000 : at) };
}
const depth = (symbol, at) => SOURCES.map((source, i) => {
  const [bid, ask] = quoteAt(symbol, at / 1000, i);
  return { source, bid, ask, bid_size: String(1_000_000 + i * 250_000), ask_size: i === 3 ? null : "1500000", at: iso(at - i * 140), state: i === 3 ? "stale" : "fresh" };
});

const some = (list) => list.filter(() => Math.random() < 0.55);
function liveSymbol({ params, query, response, request }) {
  const symbol = params.symbol;
  find(symbol);
  const timeframe = query.timeframe ?? "M1";
  const step = SECONDS[timeframe];
  const source = query.source ?? "best";
  const event = () => ["bar", { source, timeframe, bar: bar(symbol, Math.floor(now() / 1000 / step) * step, step, source) }];
  return events(response, request, 250, () => [["depth", depth(symbol, now())], event()], () => [["depth", some(depth(symbol, now()))], event()]);
}

function ticks({ query }) {
  find(query.symbol);
  const next = random(5);
  const rows = empty ? [] : Array.from({ length: 400 }, (_, i) => {
    const at = now() - i * 340;
    const [bid, ask] = quoteAt(query.symbol, at / 1000);
    const bad = next() < 0.04;
    return { id: 1e6 - i, at: iso(at), event_at: iso(at - 12), bid, ask, bid_size: "1000000", ask_size: "1000000", verdict: bad ? "refused" : "accepted", reasons: bad ? ["jump"] : [] };
  });
  return paged("ticks", rows, query);
}

const gaps = empty ? [] : [
  { id: 41, source: "oanda-demo", symbol: "EURUSD", from: ago(340), to: null, cause: "read_error", state: "open", lost: null, repairable: false },
  { id: 40, source: "mtapi-icm", symbol: null, from: ago(7400), to: ago(7210), cause: "mute", state: "closed", lost: null, repairable: false },
  { id: 38, source: "binance", symbol: "BTCUSD", from: ago(91000), to: ago(90950), cause: "sequence_jump", state: "repaired", lost: 0, repairable: false },
  { id: 33, source: "fix-lmax", symbol: "XAUUSD", from: ago(260000), to: ago(259000), cause: "ring_full", state: "lost", lost: 1412, repairable: true },
].map((gap) => ({ epoch: 17, ...gap }));
// The two hours of each week that bars are missing for, where they lie in the last days.
const hole = Math.floor((now() / 1000 - 200000) / 604800) * 604800 + 200000;
if (!empty) gaps.push({ epoch: 16, id: 9, source: "", symbol: null, from: iso(hole * 1000), to: iso((hole + 7200) * 1000), cause: "restart", state: "lost", lost: null, repairable: true });

const STATISTICS = () => ({
  tables: empty ? [] : [["ticks", 184_220_114, 9.8], ["bars", 10_412_886, 23.4], ["indicators", 4_120_551, 12.1], ["gaps", 1_204, 61]].map(([table, rows, per]) => ({ table, rows, bytes: Math.round(rows * per), bytes_per_row: per, oldest: ago(86400 * 214), newest: ago(2) })),
  series: empty ? [] : SYMBOLS.slice(0, 5).flatMap(([symbol]) => ["M1", "H1"].map((timeframe) => ({ source: "best", symbol, timeframe, rows: timeframe === "M1" ? 308_160 : 5_136, oldest: ago(86400 * 214), newest: ago(60) }))),
  at: iso(now()),
});

export const statistics = STATISTICS;
export const routes = [
  ["GET", "/api/instruments", () => ({ instruments: empty ? [] : SYMBOLS.map(([symbol, cls, digits, pip]) => ({ symbol, class: cls, digits, pip, sources: symbol === "SOLUSD" ? ["binance"] : SOURCES })) })],
  ["GET", "/api/bars", bars],
  ["GET", "/api/bars.csv", csv],
  ["GET", "/api/ticks", ticks],
  ["GET", "/api/indicators", indicators],
  ["GET", "/api/market-data/exists", () => ({ exists: true, rows: 1200, first: ago(86400), last: ago(60) })],
  ["GET", "/api/market-data/statistics", STATISTICS],
  ["GET", "/api/live/quotes", ({ response, request }) => {
    const all = () => (empty ? [] : SYMBOLS.map(([symbol]) => quote(symbol, now())));
    return events(response, request, 250, () => [["quotes", all()]], () => [["quotes", some(all())]]);
  }],
  ["GET", "/api/live/symbols/:symbol", liveSymbol],
  ["GET", "/api/live/sparklines", () => (empty ? {} : Object.fromEntries(SYMBOLS.map(([symbol, , digits]) => [symbol, Array.from({ length: 60 }, (_, i) => priceAt(symbol, now() / 1000 - (60 - i) * 10).toFixed(digits + 1))])))],
  ["GET", "/api/sources", () => ({
    summaries: empty ? [] : SYMBOLS.slice(0, 5).flatMap(([symbol], s) => SOURCES.map((source, i) => ({
      symbol, source, score: 95.1 - i * 9.2 - s, parts: { uptime: 39.9 - i * 2.2, completeness: 19.8 - i * 1.4, latency: 13.1 - i * 2.6 - s, spread: 12.4 - i * 2.4, rejects: 9.9 - i * 0.6 }, uptime_percent: 99.8 - i, completeness_percent: 98.9 - i * 2,
      latency_p50_ms: 8 + i * 6, latency_p99_ms: 31 + i * 22, avg_spread: String(0.00009 + i * 0.00002), ticks_per_second: 14.2 - i * 2, rejects: i * 13, best_share_percent: [46, 31, 15, 8][i], priority: i + 1 }))),
    recommended: empty ? {} : Object.fromEntries(SYMBOLS.slice(0, 5).map(([symbol]) => [symbol, SOURCES[0]])),
  })],
  ["GET", "/api/gaps", ({ query }) => paged("gaps", gaps.filter((gap) => (!query.state || gap.state === query.state) && (!query.source || gap.source === query.source) && (!query.symbol || gap.symbol === null || gap.symbol === query.symbol)), query)],
  ["POST", "/api/gaps/:epoch/:id/repair", ({ params }) => {
    const gap = gaps.find(({ id }) => String(id) === params.id) ?? missing("gap");
    gap.state = "closed";
    return [202, {}];
  }],
];
