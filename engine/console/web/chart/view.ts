// Joins what a chart has fetched with what it draws: the page only says what is wanted and shows what stands beside it.

import type { ZoneName } from "../time.ts";
import type { Bar, Gap, IndicatorSeries } from "../types.ts";
import { type Side, pricesOf } from "./bars.ts";
import { CandleChart } from "./candles.ts";
import { readColours } from "./colours.ts";
import { type Asks, type Changed, ChartData, type Subject } from "./data.ts";
import { type Plan, chosenAtFirst, plan } from "./indicators.ts";

/** An indicator and how it is drawn. */
export interface Drawn {
  plan: Plan;
  series: IndicatorSeries;
}

/** What the viewer chose to see over the bars, for as long as the console is open; `null` until they chose. */
let chosen: Set<string> | null = null;

export class ChartView {
  readonly data: ChartData;
  /** Every indicator there is, in the order of their names. */
  all: Drawn[] = [];
  /** Time of the bar that the cursor stands on. */
  cursor: number | null = null;
  private readonly timeframe: string;
  private readonly tell: () => void;
  private chart: CandleChart | null = null;
  private side: Side;
  private digits = 5;

  /** `tell` is called when what stands beside the chart has changed. */
  constructor(subject: Subject, asks: Asks, side: Side, tell: () => void) {
    this.timeframe = subject.timeframe;
    this.side = side;
    this.tell = tell;
    this.data = new ChartData(subject, asks, (what) => this.onData(what));
  }

  /** Draws into the element from now on; once more with another theme or zone. */
  mount(host: HTMLElement, theme: "light" | "dark", zone: ZoneName): void {
    const before = this.chart;
    const range = before?.range ?? null;
    before?.dispose();
    this.chart = new CandleChart(host, readColours(theme), zone, {
      cursor: (t) => {
        this.cursor = t;
        this.tell();
      },
      older: () => void this.data.older(),
    });
    this.chart.setDigits(this.digits);
    if (!before) void this.data.start();
    this.draw();
    this.chart.range = range;
    this.tell();
  }

  dispose(): void {
    this.data.stop();
    this.chart?.dispose();
    this.chart = null;
  }

  setSide(side: Side): void {
    this.side = side;
    this.draw();
  }

  /** Who tells the symbol: comes with the instruments, perhaps after the bars. */
  setSources(sources: readonly string[]): void {
    this.data.sources = sources;
    this.draw();
  }

  setDigits(digits: number): void {
    this.digits = digits;
    this.chart?.setDigits(digits);
  }

  /** Shows an indicator or takes it away. */
  choose(indicator: string, isOn: boolean): void {
    const next = new Set(this.shown);
    if (isOn) next.add(indicator);
    else next.delete(indicator);
    chosen = next;
    this.drawOver();
    this.tell();
  }

  /** Names of the indicators that are to be seen. */
  get shown(): Set<string> {
    return chosen ?? new Set(chosenAtFirst(this.all.map(({ plan }) => plan)));
  }

  get drawn(): Drawn[] {
    const { shown } = this;
    return this.all.filter(({ plan }) => shown.has(plan.indicator));
  }

  get colours(): ReadonlyMap<string, string> {
    return this.chart?.lineColours() ?? new Map();
  }

  /** The bar under the cursor, or the newest where it stands nowhere. */
  get bar(): Bar | null {
    return this.cursor === null ? this.data.bars.newest : this.data.bars.at(this.cursor);
  }

  /** The holes under the cursor. */
  get gaps(): Gap[] {
    return this.cursor === null ? [] : this.data.gapsAt(this.cursor);
  }

  release(): void {
    this.chart?.clearCursor();
  }

  /** Does what a key asks for; `false` when it asks for nothing. */
  key({ key, shiftKey }: { key: string; shiftKey: boolean }): boolean {
    const { chart } = this;
    if (!chart) return false;
    const far = shiftKey ? 10 : 1;
    const does: Record<string, () => void> = {
      ArrowLeft: () => chart.step(-far),
      ArrowRight: () => chart.step(far),
      PageUp: () => chart.step(-50),
      PageDown: () => chart.step(50),
      Home: () => chart.oldest(),
      End: () => chart.newest(),
      "+": () => chart.zoom(1.3),
      "=": () => chart.zoom(1.3),
      "-": () => chart.zoom(1 / 1.3),
      Escape: () => chart.clearCursor(),
    };
    does[key]?.();
    return key in does;
  }

  private onData(what: Changed): void {
    const { newest } = this.data.bars;
    if (what === "newest" && newest) this.chart?.setNewest(newest);
    else if (what !== "state") this.draw();
    this.tell();
  }

  private draw(): void {
    this.all = this.plans();
    this.chart?.setSlots(this.data.slots(), this.side, this.timeframe);
    this.drawOver();
  }

  private drawOver(): void {
    this.chart?.setIndicators(this.drawn);
    const { whole, part } = this.data.holes();
    this.chart?.setHoles(whole, part);
  }

  /** How each indicator is drawn over these bars. */
  private plans(): Drawn[] {
    let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (const bar of this.data.bars.all) {
      const prices = pricesOf(bar, this.side);
      if (!prices) continue;
      low = Math.min(low, Number(prices[2]));
      high = Math.max(high, Number(prices[1]));
    }
    return this.data.indicators
      .filter(({ points }) => points.length > 0)
      .map((series) => ({ plan: plan(series, low, high), series }))
      .sort((a, b) => a.plan.indicator.localeCompare(b.plan.indicator));
  }
}
