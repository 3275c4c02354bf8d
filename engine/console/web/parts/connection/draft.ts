// What the form holds, and what is sent of it.

import type { Adapter, AdapterField, Connection, Draft, InstrumentWanted } from "../../types.ts";

export interface SymbolRow {
  canonical: string;
  venue: string;
}
/** The form's state: all texts as typed. */
export interface Typed {
  name: string;
  adapter: string;
  provider: string;
  private: boolean;
  config: Record<string, string>;
  secrets: Record<string, string>;
  symbols: SymbolRow[];
  timeframes: string[];
  storesTicks: boolean;
  retentionDays: string;
  /** Of symbols that the engine does not know by their names. */
  instruments: Record<string, InstrumentWanted>;
}

/** The form of a new connection, or of one that is there. */
export function typedOf(adapter: Adapter, existing: Connection | null, isPrivate: boolean): Typed {
  const config: Record<string, string> = {};
  for (const field of adapter.fields) {
    if (field.kind === "secret") continue;
    const stored = existing && storedAt(existing.config, field.key);
    // A default that the engine knows of itself is shown, not sent, unless there is nothing to show it by.
    const start = field.kind === "boolean" || (!existing && field.required) ? (field.default ?? "") : "";
    config[field.key] = stored === undefined || stored === null ? start : Array.isArray(stored) ? stored.join("\n") : String(stored);
  }
  return {
    name: existing?.name ?? "",
    adapter: adapter.adapter,
    provider: existing?.provider ?? "",
    private: existing ? existing.owner !== null : isPrivate,
    config,
    secrets: {},
    symbols: Object.entries(existing?.symbols ?? {}).map(([canonical, venue]) => ({ canonical, venue })),
    timeframes: existing?.timeframes ?? ["M1", "H1"].filter((one) => adapter.timeframes.includes(one)),
    storesTicks: existing?.stores_ticks ?? true,
    retentionDays: existing?.retention_days ? String(existing.retention_days) : "",
    instruments: {},
  };
}

/** The value of a key; a point stands between a table and its key. */
function storedAt(config: Record<string, unknown>, key: string): unknown {
  if (key in config) return config[key];
  let value: unknown = config;
  for (const piece of key.split(".")) {
    if (typeof value !== "object" || value === null) return undefined;
    value = (value as Record<string, unknown>)[piece];
  }
  return value;
}

/** A field's text as the value that the API takes; `undefined` leaves it out. */
function valueOf(field: AdapterField, text: string): unknown {
  const trimmed = text.trim();
  if (trimmed === "") return undefined;
  if (field.kind === "boolean") return trimmed === "true";
  if (field.kind === "number") return Number.isFinite(Number(trimmed)) ? Number(trimmed) : trimmed;
  return trimmed;
}

/** What is sent. Secrets that were not typed are left out: the stored ones stay. A key that was emptied is taken away. */
export function draftOf(typed: Typed, adapter: Adapter, existing: Connection | null): Draft {
  const config: Record<string, unknown> = {};
  for (const field of adapter.fields) {
    const value = field.kind === "secret" ? undefined : valueOf(field, typed.config[field.key] ?? "");
    if (value !== undefined) config[field.key] = value;
    else if (existing && field.kind !== "secret" && storedAt(existing.config, field.key) !== undefined) config[field.key] = null;
  }
  const days = typed.retentionDays.trim();
  const chosen = new Set(typed.symbols.map(({ canonical }) => canonical.trim()));
  return {
    name: typed.name.trim(),
    adapter: typed.adapter,
    // An empty text takes the old one away; a new connection has none.
    provider: typed.provider.trim() || (existing ? "" : null),
    private: typed.private,
    config,
    secrets: Object.fromEntries(Object.entries(typed.secrets).filter(([, value]) => value !== "")),
    symbols: Object.fromEntries(typed.symbols.map(({ canonical, venue }) => [canonical.trim(), venue])),
    timeframes: typed.timeframes,
    stores_ticks: typed.storesTicks,
    retention_days: days === "" ? null : Number(days),
    instruments: Object.fromEntries(Object.entries(typed.instruments).filter(([symbol]) => chosen.has(symbol))),
  };
}

/** A canonical name for a venue's: letters and digits, large, without what brokers append (`EURUSD.r`, `EUR_USD`). */
export function canonicalOf(venue: string): string {
  const bare = venue.replace(/^[^A-Za-z0-9]+/, "").replace(/[.#!^].*$/, "");
  return bare.replace(/[^A-Za-z0-9]/g, "").toUpperCase();
}

/** The symbol that an error asks to be described: `instruments.SYMBOL…`. */
export function undescribed(field: string | null | undefined): string | null {
  return /^instruments\.([^.]+)/.exec(field ?? "")?.[1] ?? null;
}
