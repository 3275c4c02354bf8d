// The rows of the live table: what is known of each symbol, which way its prices moved, and the line of its last minutes.

import { compare } from "../decimal.ts";
import type { Instrument, LiveQuote } from "../types.ts";
import { inPips, spreadOf } from "./best.ts";

/** Which way a price went when it last changed. */
export type Move = -1 | 0 | 1;

/** Points of a line, and the time between two, milliseconds: ten minutes, as the engine remembers them. */
export const POINTS = 60;
const POINT_EVERY_MS = 10_000;

export interface Row {
  symbol: string;
  quote: LiveQuote;
  instrument: Instrument | null;
  bidMove: Move;
  askMove: Move;
  /** Mids, oldest first, for the line alone. */
  line: number[];
  /** When the newest point of the line began, milliseconds. */
  pointAt: number;
}

/** What an update changed in a row. */
export interface Changed {
  row: Row;
  bid: boolean;
  ask: boolean;
  /** Seen for the first time. */
  isNew: boolean;
}

const move = (before: string | null, after: string | null): Move =>
  before === null || after === null ? 0 : (Math.sign(compare(after, before)) as Move);

/** A price for its place on the screen alone. */
function middle(quote: LiveQuote): number | null {
  const prices = [quote.bid, quote.ask].filter((price): price is string => price !== null).map(Number);
  return prices.length === 0 ? null : prices.reduce((sum, price) => sum + price, 0) / prices.length;
}

export class Quotes {
  readonly rows = new Map<string, Row>();
  private instruments = new Map<string, Instrument>();
  /** How far this clock is behind the engine's, milliseconds, as far as quotes from the future tell. */
  private behindMs = 0;

  /** Digits, pips and sources of symbols; they may come before or after quotes. */
  setInstruments(instruments: readonly Instrument[]): void {
    this.instruments = new Map(instruments.map((instrument) => [instrument.symbol, instrument]));
    for (const row of this.rows.values()) row.instrument = this.instruments.get(row.symbol) ?? null;
  }

  /** The lines of the last minutes as the engine remembers them; what was seen since stays at their ends. */
  setLines(lines: Record<string, readonly string[]>): void {
    for (const [symbol, line] of Object.entries(lines)) {
      const row = this.rows.get(symbol);
      if (!row || line.length <= row.line.length) continue;
      row.line = [...line.map(Number).filter(Number.isFinite), ...row.line.slice(-1)].slice(-POINTS);
    }
  }

  /** Takes what changed. With `isWhole` symbols that are not among them are gone. */
  apply(quotes: readonly LiveQuote[], nowMs: number, isWhole = false): { changed: Changed[]; gone: string[] } {
    const gone: string[] = [];
    if (isWhole) {
      const told = new Set(quotes.map(({ symbol }) => symbol));
      for (const symbol of this.rows.keys()) if (!told.has(symbol)) gone.push(symbol);
      for (const symbol of gone) this.rows.delete(symbol);
    }
    return { changed: quotes.map((quote) => this.applyOne(quote, nowMs)), gone };
  }

  private applyOne(quote: LiveQuote, nowMs: number): Changed {
    if (quote.at !== null) this.behindMs = Math.max(this.behindMs, Date.parse(quote.at) - nowMs);
    const known = this.rows.get(quote.symbol);
    if (!known) {
      const instrument = this.instruments.get(quote.symbol) ?? null;
      const row: Row = { symbol: quote.symbol, quote, instrument, bidMove: 0, askMove: 0, line: [], pointAt: 0 };
      this.rows.set(quote.symbol, row);
      this.point(row, nowMs);
      return { row, bid: true, ask: true, isNew: true };
    }
    const bid = quote.bid !== known.quote.bid;
    const ask = quote.ask !== known.quote.ask;
    if (bid) known.bidMove = move(known.quote.bid, quote.bid);
    if (ask) known.askMove = move(known.quote.ask, quote.ask);
    known.quote = quote;
    this.point(known, nowMs);
    return { row: known, bid, ask, isNew: false };
  }

  private point(row: Row, nowMs: number): void {
    const value = middle(row.quote);
    if (value === null) return;
    if (row.line.length > 0 && nowMs - row.pointAt < POINT_EVERY_MS) {
      row.line[row.line.length - 1] = value;
      return;
    }
    row.line.push(value);
    row.pointAt = nowMs;
    if (row.line.length > POINTS) row.line.shift();
  }

  /** How old a quote is, milliseconds; `null` without a time. */
  ageMs(quote: LiveQuote, nowMs: number): number | null {
    return quote.at === null ? null : Math.max(0, nowMs + this.behindMs - Date.parse(quote.at));
  }
}

/** The spread in pips as text: of the exact prices where the pip is known. */
export function spread({ quote, instrument }: Row): string | null {
  const exact = instrument ? inPips(spreadOf(quote.bid, quote.ask), instrument.pip) : null;
  return exact ?? (quote.spread_pips === null ? null : Number(quote.spread_pips).toFixed(1));
}

export type SortKey = "symbol" | "spread" | "age" | "state" | "bid_source" | "ask_source";
export interface Sort {
  key: SortKey;
  isDescending: boolean;
}

/** Whether every word of the filter is in the symbol, its class, a contributor or the state. */
export function matches(row: Row, filter: string): boolean {
  const { symbol, quote, instrument } = row;
  const text = [symbol, instrument?.class, quote.bid_source, quote.ask_source, quote.state].join(" ").toLowerCase();
  return filter.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

/** What is worst first. */
const STATE_ORDER = ["crossed", "stale", "single", "locked", "ok"];
const stateRank = (state: string): number => (STATE_ORDER.indexOf(state) + STATE_ORDER.length) % STATE_ORDER.length;

function order(a: Row, b: Row, key: SortKey): number {
  const [x, y] = [a.quote, b.quote];
  switch (key) {
    case "spread": {
      const [s, t] = [spread(a), spread(b)];
      return s === null || t === null ? Number(s === null) - Number(t === null) : compare(s, t);
    }
    case "age":
      // The youngest first.
      return (y.at ? Date.parse(y.at) : 0) - (x.at ? Date.parse(x.at) : 0);
    case "state":
      return stateRank(x.state) - stateRank(y.state);
    case "bid_source":
    case "ask_source":
      return (x[key] ?? "\uffff").localeCompare(y[key] ?? "\uffff");
    default:
      return 0;
  }
}

/** The rows that are shown, in order. Equal ones stand by symbol, so that nothing trembles. */
export function shown(rows: Iterable<Row>, filter: string, sort: Sort): Row[] {
  const sign = sort.isDescending ? -1 : 1;
  const bySymbol = (a: Row, b: Row): number => a.symbol.localeCompare(b.symbol);
  return [...rows]
    .filter((row) => matches(row, filter))
    .sort((a, b) => (sort.key === "symbol" ? sign * bySymbol(a, b) : sign * order(a, b, sort.key) || bySymbol(a, b)));
}
