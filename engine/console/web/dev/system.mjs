// Status, jobs, storage, pipeline, terminals, alerts.
import { counts, list as connectionsOf } from "./connections.mjs";
import { ago, empty, iso, missing, now, paged } from "./kit.mjs";
import { statistics } from "./market.mjs";

const started = now() - 86400e3 * 3.4;
const alerts = empty ? [] : [
  { id: 9, rule: "connection_error", subject: "mtapi-icm", severity: "critical", message: "mtapi-icm has been in error for 4 min: the API key was refused.", raised_at: ago(240), cleared_at: null, cleared_message: null },
  { id: 8, rule: "symbol_single_source", subject: "SOLUSD", severity: "warning", message: "SOLUSD has had one source only for 6 min.", raised_at: ago(380), cleared_at: null, cleared_message: null },
  { id: 7, rule: "storage_lag", subject: "storage", severity: "warning", message: "The database was 84 s behind the journal.", raised_at: ago(9000), cleared_at: ago(8700), cleared_message: "It is 0 s behind." },
  { id: 6, rule: "job_failed", subject: "fetch_bars", severity: "warning", message: "fetch_bars of oanda-demo failed three times: the venue answered 503.", raised_at: ago(80000), cleared_at: ago(76000), cleared_message: "The next run succeeded." },
];
const job = (id, kind, state, more = {}) => ({ id, kind, connection: "oanda-demo", parameters: {}, state, attempts: 1, attempts_max: 3, progress: null, message: null, rows: null, requested_by: "schedule", queued_at: ago(1200 - id), started_at: ago(1190 - id), finished_at: ["queued", "running"].includes(state) ? null : ago(1150 - id), next_attempt_at: null, ...more });
export const jobs = empty ? [] : [
  job(106, "backfill", "running", { connection: "mtapi-icm", parameters: { symbol: "EURUSD", timeframe: "H1", from: "2025-11-21", to: "2026-11-21" }, requested_by: "admin", progress: { done: 2120, total: 6240, eta_seconds: 48 } }),
  job(105, "fetch_bars", "queued", { next_attempt_at: iso(now() + 30e3), started_at: null, attempts: 1 }),
  job(104, "fetch_bars", "failed", { attempts: 3, message: "The venue answered 503 Service Unavailable to the third attempt as well." }),
  job(103, "retention", "succeeded", { connection: null, rows: 1_204_220, message: "1,204,220 rows older than 365 days were deleted in 2.1 s." }),
  job(102, "refresh_symbols", "succeeded", { connection: "binance", rows: 612 }),
  job(101, "repair", "cancelled", { requested_by: "staff", parameters: { symbol: "XAUUSD" } }),
];
/** Queues a job whose progress moves; for the backfill form as well. */
export function queue(fields) {
  const id = Math.max(100, ...jobs.map((one) => one.id)) + 1;
  const entry = job(id, fields.kind, "running", { ...fields, queued_at: iso(now()), started_at: iso(now()), progress: { done: 0, total: 6240, eta_seconds: 12 } });
  jobs.unshift(entry);
  const timer = setInterval(() => {
    if (entry.state !== "running") return clearInterval(timer);
    const done = Math.min(6240, entry.progress.done + 610);
    entry.progress = { done, total: 6240, eta_seconds: Math.round((6240 - done) / 610) };
    if (done === 6240) Object.assign(entry, { state: "succeeded", rows: 6240, finished_at: iso(now()), message: "6,240 bars were stored." });
  }, 1000);
  return entry;
}
const find = (id) => jobs.find((one) => String(one.id) === id) ?? missing(`job ${id}`);
const wave = (base, swing) => base + swing * Math.sin(now() / 4000);

function status() {
  const connections = counts();
  return {
    service: "tickwire", status: empty ? "ok" : "degraded", version: "0.1.0", uptime_seconds: Math.round((now() - started) / 1000), at: iso(now()),
    problems: empty ? [] : ["mtapi-icm: in error since 4 min, the API key was refused", "SOLUSD has one source only"],
    connections, rates: { ticks_per_second: empty ? 0 : wave(1412, 130), published_per_second: empty ? 0 : wave(611, 60) }, terminals: empty ? 0 : 3,
    latency_ms: { p50: empty ? null : wave(0.41, 0.04), p99: empty ? null : wave(1.9, 0.3) }, storage: { mode: "embedded", lag_rows: empty ? 0 : Math.round(wave(320, 200)), lag_seconds: 0.4, last_error: null },
    gaps: { open: empty ? 0 : 2, lost: empty ? 0 : 1 }, alerts: alerts.slice(0, 10),
  };
}

export const routes = [
  ["GET", "/api/status", status],
  ["GET", "/api/alerts", ({ query }) => paged("alerts", alerts.filter((alert) => !query.state || (query.state === "raised") === !alert.cleared_at), query)],
  ["POST", "/api/alerts/webhooks/:id/test", () => ({ succeeded: false, status: 502, error: "the receiver answered 502 Bad Gateway" })],
  ["GET", "/api/jobs", ({ query }) => paged("jobs", jobs.filter((one) => (!query.kind || one.kind === query.kind) && (!query.state || one.state === query.state) && (!query.connection || one.connection === query.connection)), query)],
  ["GET", "/api/jobs/:id", ({ params }) => find(params.id)],
  ["POST", "/api/jobs", ({ body, viewer }) => [202, queue({ kind: body.kind, connection: body.connection ?? null, parameters: body, requested_by: viewer.user.name })]],
  ["POST", "/api/jobs/:id/cancel", ({ params }) => Object.assign(find(params.id), { state: "cancelled", finished_at: iso(now()) })],
  ["GET", "/api/job-schedules", () => ({ schedules: empty ? [] : [
    { kind: "retention", connection: null, every: "daily at 02:00", next_at: iso(now() + 9e6), last_state: "succeeded", last_at: ago(40000) },
    ...connectionsOf().slice(0, 3).flatMap(({ name }) => [{ kind: "fetch_bars", connection: name, every: "minute", next_at: iso(now() + 31e3), last_state: "succeeded", last_at: ago(29) }, { kind: "refresh_symbols", connection: name, every: "day", next_at: iso(now() + 4e7), last_state: null, last_at: null }]),
  ] })],
  ["GET", "/api/storage", () => ({
    mode: "embedded", lag_rows: Math.round(wave(320, 200)), lag_seconds: 0.4, last_error: null, disk: { total_bytes: 512e9, free_bytes: 311.4e9 }, journal: { bytes: 48_200_112, oldest_at: ago(5400) }, tables: statistics().tables,
    retention: { time: "02:00", days_default: 365, rules: empty ? [] : [{ connection: "binance", table: "ticks", days: 30 }, { connection: null, table: "ticks", days: 90 }], last: empty ? null : { at: ago(40000), rows_deleted: 1_204_220, seconds: 2.1 } },
  })],
  ["GET", "/api/pipeline", () => ({
    stages: ["decode", "dedupe", "validate", "aggregate", "bars", "indicators"].map((stage, i) => ({ stage, count: 18_422_011 - i * 1000, p50_ns: wave(180 + i * 90, 20), p99_ns: 900 + i * 400, p999_ns: 4200 + i * 900, max_ns: 210_000 + i * 3000 })),
    publish: { p50_ns: 41_000, p99_ns: 190_000, p999_ns: 840_000 },
    queues: ["ring.fx", "ring.crypto", "journal", "fanout", "storage"].map((queue, i) => ({ queue, used: Math.round(wave(120 + i * 300, 100)), capacity: 4096, dropped: i === 4 ? 12 : 0 })),
    rates: connectionsOf().map(({ name }, i) => ({ source: name, accepted: 1_800_220 - i * 9000, rejected: i * 410, per_second: wave(210 - i * 20, 30) })),
    rejects: [["oanda-demo", "duplicate", 1204], ["mtapi-icm", "crossed", 18], ["binance", "spike", 44]].map(([source, reason, count]) => ({ source, reason, count })),
  })],
  ["GET", "/api/terminals", () => ({
    terminals: empty ? [] : [["desk-1", 1_840_221, 12_004, 0.8], ["algo-eu", 9_120_400, 0, 0.4], ["watch", 4_022, 0, 2.1]].map(([user, delivered, skipped, rtt], i) => ({ id: 31 + i, user, address: `127.0.0.1:${50112 + i * 7}`, connected_at: ago(9000 * (i + 1)), subscriptions: [{ symbols: i ? ["EURUSD", "GBPUSD"] : ["*"], kinds: ["best"], sources: [], delivery: i === 1 ? "all" : "latest" }], delivered, skipped, bytes: delivered * 48, rtt_ms: rtt, latency_ms: rtt * 0.6 })),
    totals: empty ? { terminals: 0, delivered: 0, skipped: 0 } : { terminals: 3, delivered: 10_964_643, skipped: 12_004 },
  })],
];
