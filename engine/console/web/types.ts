// The shapes of the API. Prices, sizes and money are decimal strings; times are RFC 3339 in UTC.

export type Decimal = string;
export type Time = string;

export type Role = "administrator" | "staff" | "user" | "demo";
export type Permission = "manage-data-connections" | "manage-users" | "manage-jobs" | "manage-settings" | "view-system";
export type Scope = "read" | "write" | "stream";

export interface User {
  name: string;
  role: Role;
  permissions: Permission[];
  disabled: boolean;
  totp: boolean;
  sources: string[] | null;
  created_at: Time;
  last_signed_in_at: Time | null;
}
export interface Session {
  user: User;
  csrf_token: string;
  expires_at: Time;
}
export interface Token {
  id: string | number;
  user: string;
  name: string;
  scopes: Scope[];
  created_at: Time;
  last_used_at: Time | null;
  expires_at: Time | null;
}

export interface AdapterField {
  key: string;
  title: string;
  kind: "text" | "secret" | "number" | "boolean" | "url" | "choice";
  choices: string[] | null;
  default: string | null;
  required: boolean;
  help: string | null;
}
export interface Adapter {
  adapter: string;
  title: string;
  approved: boolean;
  has_history: boolean;
  has_tick_history: boolean;
  has_symbols: boolean;
  has_account: boolean;
  timeframes: string[];
  fields: AdapterField[];
}

export type ConnectionStatus = "active" | "inactive" | "error" | "testing" | "stale";
export interface Live {
  state: string;
  cause: string | null;
  connections: { live: number; total: number };
  ticks_per_second: number;
  latency_ms: number | null;
  last_tick_age_ms: number | null;
  active_symbols: number;
  reconnects: number;
  decode_errors: number;
  dropped: number;
}
export interface Connection {
  name: string;
  adapter: string;
  provider: string | null;
  owner: string | null;
  origin: "database" | "configuration";
  is_active: boolean;
  status: ConnectionStatus;
  last_connected_at: Time | null;
  last_error: string | null;
  symbols: Record<string, string>;
  timeframes: string[];
  config: Record<string, unknown>;
  secrets: string[];
  stores_ticks: boolean;
  retention_days: number | null;
  created_at: Time | null;
  changed_at: Time | null;
  live: Live | null;
}
/** What is known of a symbol whose name does not say it. */
export interface InstrumentWanted {
  class: "fx" | "metal" | "index" | "crypto";
  digits: number;
  pip: Decimal;
}
/** What a connection is made from, and what a test is given. */
export interface Draft {
  name: string;
  adapter: string;
  provider?: string | null;
  private: boolean;
  config: Record<string, unknown>;
  secrets: Record<string, string>;
  symbols: Record<string, string>;
  timeframes: string[];
  stores_ticks: boolean;
  retention_days: number | null;
  instruments: Record<string, InstrumentWanted>;
}
export interface TestResult {
  succeeded: boolean;
  message: string;
  error_code: string | null;
  cure: string | null;
  latency_ms: number | null;
  first_price_ms: number | null;
  balance: Decimal | null;
  equity: Decimal | null;
  currency: string | null;
  symbols: Record<string, { bid: Decimal; ask: Decimal } | null>;
}
export interface LogEntry {
  id: string | number;
  at: Time;
  action: string;
  succeeded: boolean;
  message: string;
  metadata: Record<string, unknown>;
}
export interface VenueSymbol {
  venue: string;
  canonical: string | null;
  description: string | null;
}
export interface Account {
  id: string | null;
  currency: string;
  balance: Decimal | null;
  equity: Decimal | null;
  margin_used: Decimal | null;
  margin_available: Decimal | null;
}
export interface Position {
  id: string | null;
  symbol: string;
  side: string;
  size: Decimal;
  open_price: Decimal | null;
  opened_at: Time | null;
  profit: Decimal | null;
}
export interface ConnectionHealth {
  name: string;
  status: ConnectionStatus;
  state: string | null;
  cause: string | null;
  last_tick_at: Time | null;
  last_tick_age_ms: number | null;
  ticks_per_second: number | null;
  latency_ms: number | null;
  last_error: string | null;
}
export type StatusCounts = Record<ConnectionStatus, number>;

export interface Instrument {
  symbol: string;
  class: string;
  digits: number;
  pip: Decimal;
  sources: string[];
}
export type Ohlc = [Decimal, Decimal, Decimal, Decimal];
export interface Bar {
  /** Integer seconds UTC. */
  t: number;
  bid: Ohlc | null;
  ask: Ohlc | null;
  mid: Ohlc | null;
  last: Ohlc | null;
  ticks: number | null;
  volume: Decimal | null;
  revision: number;
  origin: string;
  state: string;
}
export interface Tick {
  at: Time;
  event_at: Time | null;
  bid: Decimal | null;
  ask: Decimal | null;
  bid_size: Decimal | null;
  ask_size: Decimal | null;
  verdict: string;
  reasons: string[];
}
export interface IndicatorSeries {
  indicator: string;
  outputs: string[];
  points: [number, ...(number | null)[]][];
}
export interface TableStatistics {
  table: string;
  rows: number;
  bytes: number;
  bytes_per_row: number | null;
  oldest: Time | null;
  newest: Time | null;
}
export interface SeriesStatistics {
  source: string;
  symbol: string;
  timeframe: string | null;
  rows: number;
  oldest: Time | null;
  newest: Time | null;
}

export interface LiveQuote {
  symbol: string;
  bid: Decimal | null;
  ask: Decimal | null;
  bid_source: string | null;
  ask_source: string | null;
  /** A measure, not a price. */
  spread_pips: number | string | null;
  state: string;
  at: Time | null;
}
export interface DepthRow {
  source: string;
  bid: Decimal | null;
  ask: Decimal | null;
  bid_size: Decimal | null;
  ask_size: Decimal | null;
  at: Time | null;
  state: string;
}
export interface LiveBar {
  source: string;
  timeframe: string;
  bar: Bar;
}
export interface LiveGap {
  source: string;
  symbol: string | null;
  from: Time | null;
  to: Time | null;
  state: string;
}

export interface Alert {
  id: string | number;
  rule: string;
  subject: string;
  severity: "warning" | "critical";
  message: string;
  raised_at: Time;
  cleared_at: Time | null;
  cleared_message: string | null;
}
export interface Status {
  service: string;
  status: "ok" | "degraded" | "unavailable";
  version: string;
  uptime_seconds: number;
  at: Time;
  problems: string[];
  connections: StatusCounts & { total: number };
  rates: { ticks_per_second: number; published_per_second: number };
  terminals: number;
  latency_ms: { p50: number | null; p99: number | null };
  storage: { mode: string; lag_rows: number; lag_seconds: number; last_error: string | null };
  gaps: { open: number; lost: number };
  alerts: Alert[];
}
export interface SourceSummary {
  symbol: string;
  source: string;
  score: number;
  parts: { uptime: number; completeness: number; latency: number; spread: number; rejects: number };
  uptime_percent: number | null;
  completeness_percent: number | null;
  latency_p50_ms: number | null;
  latency_p99_ms: number | null;
  avg_spread: Decimal | number | null;
  ticks_per_second: number | null;
  rejects: number;
  best_share_percent: number | null;
  priority: number;
}
export interface Gap {
  epoch: number | string;
  id: number | string;
  source: string;
  symbol: string | null;
  /** `null`: there never was any data before it. */
  from: Time | null;
  to: Time | null;
  cause: string;
  state: string;
  lost: number | null;
  repairable: boolean;
}
export type JobKind = "fetch_bars" | "refresh_symbols" | "refresh_account" | "backfill" | "repair" | "retention";
export type JobState = "queued" | "running" | "succeeded" | "failed" | "cancelled";
export interface Job {
  id: string | number;
  kind: JobKind;
  connection: string | null;
  parameters: Record<string, unknown>;
  state: JobState;
  attempts: number;
  attempts_max: number;
  progress: { done: number; total: number; eta_seconds: number | null } | null;
  message: string | null;
  rows: number | null;
  requested_by: string | null;
  queued_at: Time;
  started_at: Time | null;
  finished_at: Time | null;
  next_attempt_at: Time | null;
}
export interface Schedule {
  kind: JobKind;
  connection: string | null;
  every: string;
  next_at: Time | null;
  last_state: JobState | null;
  last_at: Time | null;
}
export interface Storage {
  mode: string;
  lag_rows: number;
  lag_seconds: number;
  last_error: string | null;
  disk: { total_bytes: number; free_bytes: number };
  journal: { bytes: number; oldest_at: Time | null };
  tables: TableStatistics[];
  retention: {
    time: string | null;
    days_default: number;
    rules: { connection: string | null; table: string; days: number }[];
    last: { at: Time; rows_deleted: number; seconds: number } | null;
  };
}
export interface Pipeline {
  stages: { stage: string; count: number; p50_ns: number; p99_ns: number; p999_ns: number; max_ns: number }[];
  /** `null` before the first price. */
  publish: { p50_ns: number; p99_ns: number; p999_ns: number } | null;
  /** `capacity` is `null` where the disk is the bound. */
  queues: { queue: string; used: number; capacity: number | null; dropped: number }[];
  rates: { source: string; accepted: number; rejected: number; per_second: number }[];
  rejects: { source: string; reason: string; count: number }[];
}
export interface Terminal {
  id: string | number;
  user: string | null;
  token?: string | null;
  address: string;
  connected_at: Time;
  subscriptions: { symbols: string[]; kinds: string[]; sources: string[] | null; delivery: string }[];
  delivered: number;
  skipped: number;
  bytes: number;
  rtt_ms: number | null;
  latency_ms: number | null;
}
export interface AlertRule {
  enabled: boolean;
  threshold: number | null;
  for_seconds: number;
}
export interface Webhook {
  /** `null` for one that is not stored yet. */
  id: string | number | null;
  url: string;
  has_secret: boolean;
  secret?: string;
  rules: string[] | null;
  enabled: boolean;
  last_delivery?: { at: Time; status: number | string | null; error: string | null } | null;
}
export interface Settings {
  approved_providers: string[] | null;
}
export interface AlertSettings {
  rules: Record<string, AlertRule>;
  webhooks: Webhook[];
}
export interface ErrorCode {
  code: string;
  meaning: string;
  cure: string;
}
export interface AuditEntry {
  id: string | number;
  at: Time;
  actor: string | null;
  action: string;
  subject: string | null;
  succeeded: boolean;
  address: string | null;
  message: string;
}
