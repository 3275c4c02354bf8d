// All that one chart shows, and when it is fetched: pages of bars, indicators of the same stretch, holes, what is live.

import { asError, type ApiError, type Query } from "../api.ts";
import type { Bar, Gap, IndicatorSeries, Schemas } from "../types.ts";
import { Bars, type Hole, type Slot, withMissing } from "./bars.ts";
import { mergeSeries } from "./indicators.ts";
import { seconds } from "./timeframes.ts";

/** Bars of a page. */
export const PAGE = 500;
/** How long after the event something is asked for, milliseconds: a bar that has closed is not at once in the database. */
const SETTLE_MS = 1500;
const STORED_MS = 4000;
/** How often bars are asked for that are missing before the newest. */
const TRIES = 4;

/** What a chart is of. */
export interface Subject {
  symbol: string;
  source: string;
  timeframe: string;
}

export interface Asks {
  bars(query: Query): Promise<Schemas["Bars"]>;
  indicators(query: Query): Promise<{ series: IndicatorSeries[] }>;
  gaps(query: Query): Promise<Schemas["Gaps"]>;
}

/** What changed: everything, only the newest bar, or what is laid over the bars. */
export type Changed = "bars" | "newest" | "over" | "state";

const at = (time: string): number => Date.parse(time) / 1000;
/** A hole before the first data has no begin. */
const begin = (gap: Gap): number => (gap.from === null ? 0 : at(gap.from));
const rfc = (t: number): string => new Date(t * 1000).toISOString();

export class ChartData {
  readonly bars: Bars;
  indicators: IndicatorSeries[] = [];
  gaps: Gap[] = [];
  loading = true;
  loadingOlder = false;
  error: ApiError | null = null;
  /** All sources of the symbol: where every one of them was away, the best price has a hole too. */
  sources: readonly string[] = [];
  private readonly subject: Subject;
  private readonly ask: Asks;
  private readonly tell: (what: Changed) => void;
  private readonly retryMs: number;
  private olderFrom = 0;
  private tries = 0;
  private isOver = false;
  private timers = new Map<string, ReturnType<typeof setTimeout>>();

  /** `retryMs`: after a failed older page none is asked for so long, however much is scrolled. */
  constructor(subject: Subject, ask: Asks, tell: (what: Changed) => void, retryMs = 3000) {
    this.retryMs = retryMs;
    this.subject = subject;
    this.ask = ask;
    this.tell = (what) => {
      if (!this.isOver) tell(what);
    };
    this.bars = new Bars(subject.timeframe);
  }

  /** Fetches the newest page, then what lies over it. */
  async start(): Promise<void> {
    void this.loadGaps();
    await this.newest();
  }

  stop(): void {
    this.isOver = true;
    for (const timer of this.timers.values()) clearTimeout(timer);
  }

  /** The newest page, for the first time or once more. */
  async newest(): Promise<void> {
    this.loading = true;
    this.tell("state");
    try {
      const page = await this.ask.bars(this.query({ limit: PAGE }));
      this.bars.refresh(page.bars, page.next);
      this.error = null;
      this.loading = false;
      this.tell("bars");
      this.tries = this.bars.isTornAtEnd ? this.tries + 1 : 0;
      if (this.bars.isTornAtEnd && this.tries < TRIES) this.later("newest", STORED_MS * this.tries, () => void this.newest());
      await this.loadIndicators(page.bars);
    } catch (thrown) {
      this.error = asError(thrown);
      this.loading = false;
      this.tell("state");
    }
  }

  /** The page before the oldest bar, unless there is none or it is on its way. */
  async older(): Promise<void> {
    if (this.loadingOlder || this.loading || this.bars.next === null || Date.now() < this.olderFrom) return;
    this.loadingOlder = true;
    this.tell("state");
    try {
      const page = await this.ask.bars(this.query({ limit: PAGE, before: this.bars.next }));
      this.bars.addPage(page.bars, page.next);
      this.loadingOlder = false;
      this.error = null;
      this.tell("bars");
      await this.loadIndicators(page.bars);
    } catch (thrown) {
      this.error = asError(thrown);
      this.olderFrom = Date.now() + this.retryMs;
      this.loadingOlder = false;
      this.tell("state");
    }
  }

  /** Takes a live bar. */
  live(bar: Bar): void {
    const before = this.bars.newest?.t;
    const change = this.bars.live(bar);
    if (change === "ignored") return;
    this.tell(change === "changed" ? "bars" : "newest");
    // Bars between the stored ones and the live one are fetched; a bar that has just closed brings indicators.
    if (change === "apart" && !this.loading) this.later("newest", SETTLE_MS, () => void this.newest());
    else if (before !== undefined && before !== this.bars.newest?.t) this.later("indicators", STORED_MS, () => void this.loadIndicators(this.bars.all.slice(-4)));
  }

  /** A hole opened, closed, or was mended: the ledger is read again, and what was mended with it. */
  gapChanged(state: string): void {
    this.later("gaps", SETTLE_MS, () => void this.loadGaps());
    if (state === "repaired") this.later("newest", STORED_MS, () => void this.newest());
  }

  /** The bars with the places where some are missing. */
  slots(): Slot[] {
    return withMissing(this.bars.all, this.holes().whole, this.subject.timeframe);
  }

  /** Where data is missing: `whole` in what is drawn, `part` in one of several sources that it is made from. */
  holes(): { whole: Hole[]; part: Hole[] } {
    const holes = (source: string): Hole[] =>
      this.gaps.filter((gap) => gap.source === source || gap.source === "").map((gap) => ({ from: begin(gap), to: gap.to === null ? null : at(gap.to) }));
    if (this.subject.source !== "best") return { whole: holes(this.subject.source), part: [] };
    const bySource = this.sources.map(holes);
    return { whole: bySource.length > 0 ? bySource.reduce(common) : [], part: bySource.flat() };
  }

  /** The holes over a time. */
  gapsAt(t: number): Gap[] {
    const end = t + seconds(this.subject.timeframe);
    const isOurs = (gap: Gap): boolean => this.subject.source === "best" || gap.source === this.subject.source || gap.source === "";
    return this.gaps.filter((gap) => isOurs(gap) && begin(gap) < end && (gap.to === null || at(gap.to) > t));
  }

  private query(more: Query): Query {
    const { symbol, source, timeframe } = this.subject;
    return { source, symbol, timeframe, ...more };
  }

  private async loadGaps(): Promise<void> {
    const { symbol, source } = this.subject;
    try {
      const { gaps } = await this.ask.gaps({ symbol, source: source === "best" ? null : source, limit: 1000 });
      this.gaps = gaps;
      this.tell("over");
    } catch {
      // The ledger may be closed to the viewer, or away: a chart without shades is a chart.
    }
  }

  private async loadIndicators(page: readonly Bar[]): Promise<void> {
    if (page.length === 0) return;
    const times = page.map(({ t }) => t);
    const to = Math.max(...times) + seconds(this.subject.timeframe);
    try {
      const { series } = await this.ask.indicators(this.query({ from: rfc(Math.min(...times)), to: rfc(to), limit: 1000 }));
      this.indicators = mergeSeries(this.indicators, series);
      this.tell("over");
    } catch {
      // Candles are drawn without them; the next bar asks again.
    }
  }

  /** Once, after things have settled, however often it is asked for. */
  private later(name: string, ms: number, work: () => void): void {
    if (this.timers.has(name) || this.isOver) return;
    const run = (): void => {
      this.timers.delete(name);
      work();
    };
    this.timers.set(name, setTimeout(run, ms));
  }
}

/** Where both have a hole. */
export function common(a: readonly Hole[], b: readonly Hole[]): Hole[] {
  const end = (hole: Hole): number => hole.to ?? Number.POSITIVE_INFINITY;
  const both = a.flatMap((x) =>
    b.map((y): Hole => {
      const to = Math.min(end(x), end(y));
      return { from: Math.max(x.from, y.from), to: to === Number.POSITIVE_INFINITY ? null : to };
    }),
  );
  return both.filter((hole) => hole.from < end(hole));
}
