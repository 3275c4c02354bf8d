// Adapters and data connections.
import { ago, empty, fail, iso, missing, now, paged } from "./kit.mjs";

const field = (key, title, kind, more = {}) => ({ key, title, kind, choices: null, default: null, required: true, help: null, ...more });
const TIMEFRAMES = ["M1", "M5", "M15", "M30", "H1", "H4", "D1"];
const adapters = [
  { adapter: "mtapi", title: "MetaTrader through mtapi.io", fields: [
    field("api_key", "API key", "secret", { help: "From your mtapi.io account, under API keys." }),
    field("account", "Account number", "text", { help: "The broker's login." }), field("password", "Account password", "secret"),
    field("server", "Broker server", "text", { help: "As MetaTrader shows it, for example ICMarketsSC-Demo." }),
    field("platform", "Platform", "choice", { choices: ["mt4", "mt5"], default: "mt5" }), field("base_url", "Address", "url", { required: false, default: "https://api.mtapi.io", help: "Leave it unless you run your own." }),
  ] },
  { adapter: "oanda", title: "OANDA v20", fields: [field("token", "Access token", "secret"), field("account", "Account", "text"), field("environment", "Environment", "choice", { choices: ["practice", "live"], default: "practice" })] },
  { adapter: "binance", title: "Binance spot", has_account: false, fields: [field("base_url", "Address", "url", { required: false, default: "wss://stream.binance.com:9443" }), field("depth", "Use book depth", "boolean", { required: false, default: "false" })] },
  { adapter: "fix", title: "FIX 4.4", has_symbols: false, has_account: false, has_history: false, approved: false, fields: [field("host", "Host and port", "text"), field("sender", "SenderCompID", "text"), field("target", "TargetCompID", "text"), field("password", "Password", "secret"), field("heartbeat", "Heartbeat, seconds", "number", { default: "30" })] },
].map((adapter) => ({ approved: true, has_history: true, has_tick_history: false, has_symbols: true, has_account: true, timeframes: TIMEFRAMES, ...adapter }));

const make = (name, adapter, status, more = {}) => ({
  name, adapter, provider: null, owner: null, origin: "database", is_active: status !== "inactive", status, last_connected_at: status === "inactive" ? ago(86400 * 4) : ago(3600), last_error: null,
  symbols: { EURUSD: "EUR_USD", GBPUSD: "GBP_USD", USDJPY: "USD_JPY" }, timeframes: ["M1", "H1"], config: {}, secrets: [], stores_ticks: true, retention_days: 365, created_at: ago(86400 * 30), changed_at: ago(86400 * 2), ...more,
});
const store = empty ? [] : [
  make("oanda-demo", "oanda", "active", { config: { account: "101-004-1", environment: "practice" }, secrets: ["token"] }),
  make("mtapi-icm", "mtapi", "error", { last_error: "the API key was refused (401)", config: { account: "5100233", server: "ICMarketsSC-Demo", platform: "mt5" }, secrets: ["api_key", "password"] }),
  make("binance", "binance", "active", { origin: "configuration", symbols: { BTCUSD: "BTCUSDT", ETHUSD: "ETHUSDT", SOLUSD: "SOLUSDT" }, created_at: null, changed_at: null }),
  make("fix-lmax", "fix", "stale", { secrets: ["password"], config: { host: "fix.example:443", sender: "TW", target: "LMXBL", heartbeat: 30 } }),
  make("my-feed", "oanda", "inactive", { owner: "user", secrets: ["token"], config: { account: "101-004-7" } }),
];
const RATES = { "oanda-demo": 214, binance: 1180, "fix-lmax": 0 };
const logs = new Map();
let nextLog = 1000;

function log(name, action, succeeded, message, metadata = {}, at = now()) {
  if (!logs.has(name)) logs.set(name, []);
  logs.get(name).unshift({ id: nextLog++, at: iso(at), action, succeeded, message, metadata });
}
for (const { name } of store) {
  for (let i = 160; i > 0; i -= 1) {
    const kind = ["fetch_data", "connect", "fetch_data", "disconnect", "fetch_data", "test"][i % 6];
    log(name, kind, i % 17 !== 0, i % 17 === 0 ? "the venue answered 503" : `${kind} succeeded`, { rows: 60 + i, latency_ms: 12 + (i % 9) }, now() - i * 61_000);
  }
}

const live = (one) => {
  const running = one.is_active && one.status !== "error";
  if (!one.is_active) return null;
  const rate = running ? (RATES[one.name] ?? 90) * (1 + 0.1 * Math.sin(now() / 2000)) : 0;
  return { state: running ? (one.status === "stale" ? "stale" : "live") : "failed", cause: one.last_error, connections: { live: running ? 1 : 0, total: 1 }, ticks_per_second: rate, latency_ms: running ? 11 + 3 * Math.sin(now() / 3000) : null, last_tick_age_ms: running ? (one.status === "stale" ? 92_000 : Math.round(40 + 30 * Math.random())) : null, active_symbols: running ? Object.keys(one.symbols).length : 0, reconnects: 2, decode_errors: 0, dropped: 0 };
};
const shown = (one) => ({ ...one, live: live(one) });
const sees = (viewer, one) => viewer.user.role === "administrator" || viewer.user.permissions.includes("manage-data-connections") || one.owner === viewer.user.name || !one.owner;
const find = ({ params, viewer }) => {
  const one = store.find(({ name }) => name === params.name);
  return one && sees(viewer, one) ? one : missing(`connection ${params.name}`);
};
export const list = () => store;
export const counts = () => {
  const of = (status) => store.filter((one) => one.status === status).length;
  return { active: of("active"), inactive: of("inactive"), error: of("error"), testing: of("testing"), stale: of("stale"), total: store.length };
};

function check(draft) {
  const adapter = adapters.find((one) => one.adapter === draft.adapter) ?? fail(422, "wrong_value", `adapter: ${draft.adapter}, expected one of the list`, "adapter");
  if (!/^[a-z0-9][a-z0-9-]*$/.test(draft.name ?? "")) fail(422, "wrong_value", `name: "${draft.name}", expected small letters, digits and dashes`, "name");
  for (const one of adapter.fields) {
    const given = one.kind === "secret" ? draft.secrets?.[one.key] : draft.config?.[one.key];
    if (one.required && !one.default && !given) fail(422, "wrong_value", `${one.title} is missing`, `${one.kind === "secret" ? "secrets" : "config"}.${one.key}`);
  }
  for (const symbol of Object.keys(draft.symbols ?? {})) {
    if (symbol.startsWith("ODD") && !draft.instruments?.[symbol]) fail(422, "wrong_value", `${symbol} is no instrument that is known; expected its class, digits and pip`, `instruments.${symbol}`);
  }
}
async function test(draft) {
  await new Promise((done) => setTimeout(done, 700));
  const refused = Object.values(draft.secrets ?? {}).includes("wrong");
  if (refused) return { succeeded: false, message: "mtapi.io refused the API key: Invalid API key.", error_code: "wrong_key", cure: "Copy the key again from your mtapi.io account, and check that it has not expired.", latency_ms: 41, first_price_ms: null, balance: null, equity: null, currency: null, symbols: {} };
  return { succeeded: true, message: "Signed in, and prices came for 3 of 3 symbols.", error_code: null, cure: null, latency_ms: 23.4, first_price_ms: 412, balance: "10000.00", equity: "10012.55", currency: "USD", symbols: Object.fromEntries(Object.keys(draft.symbols).map((symbol, i) => [symbol, i === 2 ? null : { bid: "1.08432", ask: "1.08439" }])) };
}
const VENUE = ["EURUSD", "GBPUSD", "USDJPY", "USDCHF", "AUDUSD", "NZDUSD", "EURGBP", "EURJPY", "XAUUSD", "XAGUSD", "BTCUSD", "US500"];
const symbols = (query) => ({ symbols: VENUE.filter((name) => name.includes((query.search ?? "").toUpperCase())).map((name) => ({ venue: `${name}.r`, canonical: name === "US500" ? null : name, description: `${name.slice(0, 3)} against ${name.slice(3)}` })) });

export const routes = [
  ["GET", "/api/adapters", () => ({ adapters })],
  ["GET", "/api/error-codes", () => ({ error_codes: [
    { code: "wrong_key", meaning: "The venue does not accept the login: the key, token or password is wrong, was revoked, or belongs to another account.", cure: "Enter the secret again, without spaces before or behind it." },
    { code: "timeout", meaning: "The other side took the connection and did not answer in time.", cure: "Test again. If it stays, look whether the venue has an outage." },
  ] })],
  ["GET", "/api/data-connections", ({ viewer }) => ({ connections: store.filter((one) => sees(viewer, one)).map(shown) })],
  ["POST", "/api/data-connections", ({ body, viewer }) => {
    check(body);
    if (store.some(({ name }) => name === body.name)) fail(422, "wrong_value", `name: ${body.name} is taken`, "name");
    const { secrets, private: own, ...rest } = body;
    const one = make(body.name, body.adapter, "inactive", { ...rest, is_active: false, owner: own ? viewer.user.name : null, secrets: Object.keys(secrets ?? {}), created_at: iso(now()), changed_at: iso(now()), last_connected_at: null });
    store.push(one);
    log(one.name, "create", true, `created by ${viewer.user.name}`);
    return [201, shown(one)];
  }],
  ["GET", "/api/data-connections/health", ({ viewer }) => {
    const mine = store.filter((one) => sees(viewer, one)).map(shown);
    return { connections: mine.map((one) => ({ name: one.name, status: one.status, state: one.live?.state ?? "stopped", cause: one.live?.cause ?? null, last_tick_at: one.live?.last_tick_age_ms == null ? null : iso(now() - one.live.last_tick_age_ms), last_tick_age_ms: one.live?.last_tick_age_ms ?? null, ticks_per_second: one.live?.ticks_per_second ?? null, latency_ms: one.live?.latency_ms ?? null, last_error: one.last_error })), summary: counts() };
  }],
  ["POST", "/api/data-connections/test", ({ body }) => test(body)],
  ["POST", "/api/data-connections/symbols", ({ body }) => symbols(body)],
  ["GET", "/api/data-connections/:name", (asked) => shown(find(asked))],
  ["PATCH", "/api/data-connections/:name", (asked) => {
    const one = find(asked);
    const { secrets, ...rest } = asked.body;
    Object.assign(one, rest, { changed_at: iso(now()), secrets: [...new Set([...one.secrets, ...Object.keys(secrets ?? {})])] });
    log(one.name, "edit", true, `changed by ${asked.viewer.user.name}`);
    return shown(one);
  }],
  ["DELETE", "/api/data-connections/:name", (asked) => {
    const one = find(asked);
    store.splice(store.indexOf(one), 1);
    return { rows_deleted: asked.query.data === "delete" ? 120_331 : 0 };
  }],
  ["POST", "/api/data-connections/:name/test", (asked) => test(find(asked))],
  ["POST", "/api/data-connections/:name/activate", (asked) => {
    const one = Object.assign(find(asked), { is_active: true, status: "active", last_error: null, last_connected_at: iso(now()) });
    log(one.name, "activate", true, "activated");
    return { connection: shown(one), changes: [`${one.name} was started`] };
  }],
  ["POST", "/api/data-connections/:name/deactivate", (asked) => {
    const one = Object.assign(find(asked), { is_active: false, status: "inactive" });
    log(one.name, "deactivate", true, "deactivated");
    return { connection: shown(one), changes: [`${one.name} was stopped`] };
  }],
  ["GET", "/api/data-connections/:name/logs", (asked) => {
    const { action, succeeded } = asked.query;
    const rows = (logs.get(find(asked).name) ?? []).filter((entry) => (!action || entry.action === action) && (!succeeded || String(entry.succeeded) === succeeded));
    return paged("entries", rows, asked.query);
  }],
  ["GET", "/api/data-connections/:name/symbols", (asked) => symbols(asked.query)],
  ["GET", "/api/data-connections/:name/account", (asked) => (adapters.find(({ adapter }) => adapter === find(asked).adapter).has_account ? { id: "5100233", currency: "USD", balance: "10000.00", equity: "10012.55", margin_used: "120.40", margin_available: "9892.15" } : fail(422, "not_offered", "this venue tells nothing of the account"))],
  ["GET", "/api/data-connections/:name/positions", (asked) => (adapters.find(({ adapter }) => adapter === find(asked).adapter).has_account ? { positions: [{ id: "7741", symbol: "EURUSD", side: "buy", size: "0.10", open_price: "1.08210", opened_at: ago(7200), profit: "12.55" }] } : fail(422, "not_offered", "this venue tells nothing of positions"))],
  ["POST", "/api/data-connections/:name/backfill", async (asked) => {
    const { queue } = await import("./system.mjs");
    return [202, { job: queue({ kind: "backfill", connection: find(asked).name, parameters: asked.body, requested_by: asked.viewer.user.name }).id }];
  }],
];
