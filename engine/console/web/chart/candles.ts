// The chart itself: candles, lines of indicators, shaded holes. It is told what to show and tells what is asked of it;
// it fetches nothing.

import {
  CandlestickSeries,
  ColorType,
  CrosshairMode,
  HistogramSeries,
  LineSeries,
  LineStyle,
  createChartEx,
  type CandlestickData,
  type DeepPartial,
  type HorzScaleOptions,
  type TickMarkType,
  type IChartApiBase,
  type IPriceLine,
  type ISeriesApi,
  type SeriesType,
  type Time,
  type UTCTimestamp,
  type WhitespaceData,
} from "lightweight-charts";
import { dateTime, type ZoneName } from "../time.ts";
import type { Bar, IndicatorSeries } from "../types.ts";
import { type Hole, type Side, type Slot, extent, indexAt, pricesOf } from "./bars.ts";
import { type Colours } from "./colours.ts";
import { type Line, type Plan, pointsOf } from "./indicators.ts";
import { ZonedScale, markText } from "./scale.ts";
import { Shading } from "./shading.ts";
import { isEven } from "./timeframes.ts";

type Candle = CandlestickData<Time> | WhitespaceData<Time>;

/** Bars left of the window when older ones are asked for. */
const OLDER_AT = 40;
/** Bars in the window at first. */
const SHOWN = 110;

export interface Listener {
  /** The cursor stands on the bar that opened at this time, or on none. */
  cursor(t: number | null): void;
  /** The left end of what is known comes into sight. */
  older(): void;
}

interface Drawn {
  plan: Plan;
  lines: { line: Line; series: ISeriesApi<SeriesType, Time>; colour: string }[];
}

const utc = (t: number): UTCTimestamp => t as UTCTimestamp;

/** A bar as numbers, for its place on the screen alone: what is read is text. */
function candle(slot: Slot, side: Side): Candle {
  const prices = pricesOf(slot.bar, side);
  if (!prices) return { time: utc(slot.t) };
  const [open, high, low, close] = prices.map(Number) as [number, number, number, number];
  return { time: utc(slot.t), open, high, low, close };
}

/** Colours and zone are for life: with others a new chart is made. */
export class CandleChart {
  private readonly chart: IChartApiBase<Time>;
  private readonly candles: ISeriesApi<"Candlestick", Time>;
  private readonly scale = new ZonedScale();
  private readonly shading = new Shading();
  private readonly host: HTMLElement;
  private readonly listener: Listener;
  private readonly colours: Colours;
  private drawn: Drawn[] = [];
  private levels: IPriceLine[] = [];
  private slots: Slot[] = [];
  private side: Side = "bid";
  private timeframe = "M1";
  private cursorAt: number | null = null;
  /** Whether the window was laid over the newest bars: once, when there are some. */
  private isPlaced = false;

  constructor(host: HTMLElement, colours: Colours, zone: ZoneName, listener: Listener) {
    this.host = host;
    this.colours = colours;
    this.listener = listener;
    this.scale.zone = zone;
    this.chart = createChartEx<Time, ZonedScale>(host, this.scale, {
      autoSize: true,
      layout: {
        attributionLogo: false,
        fontFamily: getComputedStyle(host).fontFamily,
        fontSize: 11,
        panes: { enableResize: true },
      },
      crosshair: { mode: CrosshairMode.Normal },
      rightPriceScale: { borderVisible: false, scaleMargins: { top: 0.08, bottom: 0.06 }, minimumWidth: 72 },
      timeScale: { borderVisible: false, rightOffset: 4, minBarSpacing: 0.8, secondsVisible: false, timeVisible: true },
      handleScroll: { vertTouchDrag: false },
      localization: { locale: "en-GB" },
    });
    this.candles = this.chart.addSeries(CandlestickSeries, {
      borderVisible: false,
      lastValueVisible: true,
      priceLineStyle: LineStyle.Dotted,
    });
    this.candles.attachPrimitive(this.shading);
    this.applyZone();
    this.applyColours();
    this.chart.subscribeCrosshairMove(({ time, logical }) => this.onCursor(time, logical ?? null));
    this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      if (this.isPlaced && range && range.from < OLDER_AT) this.listener.older();
    });
  }

  dispose(): void {
    this.chart.remove();
  }

  /** The window, in units of bars. */
  get range(): { from: number; to: number } | null {
    return this.chart.timeScale().getVisibleLogicalRange();
  }

  set range(range: { from: number; to: number } | null) {
    if (range) this.chart.timeScale().setVisibleLogicalRange(range);
  }

  /** Shows the bars, more of them than before or another side: the window stays where it is. */
  setSlots(slots: Slot[], side: Side, timeframe: string): void {
    const isSame = slots.length === this.slots.length && slots.every(({ t }, n) => t === this.slots[n]!.t);
    this.slots = slots;
    this.side = side;
    this.timeframe = timeframe;
    this.chart.applyOptions({ timeScale: { timeVisible: isEven(timeframe) } });
    // A series that is alone and is given the same times once more leaves the library (5.2.1) with points that nobody
    // holds any more, and a later page throws: DataLayer.setSeriesData clears its map, and replaceTimeScalePoints, which
    // sees no other time, keeps the old list.
    if (isSame) this.candles.setData([]);
    this.candles.setData(slots.map((slot) => candle(slot, side)));
    if (!this.isPlaced && slots.length > 0) this.newest();
    // The window moves with the next frame: holes that come before it change where the newest bars are. A live bar alone
    // may come before the stored ones.
    if (!this.isPlaced && slots.length > 1) requestAnimationFrame(() => (this.isPlaced = true));
  }

  /** The newest bar, which is forming or has just begun. */
  setNewest(bar: Bar): void {
    const last = this.slots.at(-1);
    if (last && bar.t < last.t) return;
    if (last?.t === bar.t) last.bar = bar;
    else this.slots.push({ t: bar.t, bar });
    this.candles.update(candle({ t: bar.t, bar }, this.side));
    if (this.cursorAt === bar.t) this.listener.cursor(bar.t);
  }

  /** Digits after the point on the price axis. */
  setDigits(digits: number): void {
    this.candles.applyOptions({ priceFormat: { type: "price", precision: digits, minMove: Number(`1e-${digits}`) } });
  }

  /** Shades where data is missing: `whole` over the height, `part` (one of several sources) at the upper edge alone. */
  setHoles(whole: readonly Hole[], part: readonly Hole[]): void {
    const stretch = (isWhole: boolean) => (hole: Hole) => {
      const found = extent(this.slots, hole, this.timeframe);
      return found ? [{ from: found[0], to: found[1], isOpen: hole.to === null, isWhole }] : [];
    };
    this.shading.show([...part.flatMap(stretch(false)), ...whole.flatMap(stretch(true))]);
  }

  /** Draws these indicators and no other. Their times are those of bars: other points are left out. */
  setIndicators(wanted: readonly { plan: Plan; series: IndicatorSeries }[]): void {
    const key = (plans: readonly Plan[]): string => plans.map((plan) => `${plan.indicator}/${plan.pane}/${plan.digits}`).join("|");
    if (key(this.drawn.map(({ plan }) => plan)) !== key(wanted.map(({ plan }) => plan))) this.lay(wanted.map(({ plan }) => plan));
    const places = new Map(this.slots.map(({ t }, n) => [t, n]));
    for (const [n, { series }] of wanted.entries()) {
      for (const { line, series: drawn } of this.drawn[n]!.lines) {
        // The library (5.2.1) draws a line on through places without a value; a point's colour is that of the line after it.
        const isBroken = line.kind !== "histogram";
        drawn.setData(
          pointsOf(series, line, places).map(({ t, value, isEnd }) => ({ time: utc(t), value, ...(isBroken && isEnd ? { color: "transparent" } : {}) })),
        );
      }
    }
  }

  /** Colours of the lines that are drawn, by indicator and output: for the legend. */
  lineColours(): Map<string, string> {
    const all = this.drawn.flatMap(({ plan, lines }) =>
      lines.map(({ line, colour }) => [`${plan.indicator}/${line.output}`, colour] as const),
    );
    return new Map(all);
  }

  /** Takes the old lines away and lays new ones, without values yet. */
  private lay(plans: readonly Plan[]): void {
    for (const { series } of this.drawn.flatMap(({ lines }) => lines).reverse()) this.chart.removeSeries(series);
    this.levels = [];
    let pane = 0;
    let colour = 0;
    this.drawn = plans.map((plan) => {
      const at = plan.pane === "price" ? 0 : (pane += 1);
      // The bands of one indicator share a colour; lines that mean different things do not.
      const shared = plan.family === "BB" ? this.pick(colour++) : null;
      const lines = plan.lines.map((line) => {
        const own = shared ?? this.pick(colour++);
        return { line, colour: own, series: this.addLine(plan, line, own, at) };
      });
      this.addLevels(plan, lines[0]?.series);
      return { plan, lines };
    });
    for (const [n, one] of this.chart.panes().entries()) one.setStretchFactor(n === 0 ? 4 : 1.15);
  }

  private pick(n: number): string {
    return this.colours.series[n % this.colours.series.length]!;
  }

  private addLine(plan: Plan, line: Line, colour: string, pane: number): ISeriesApi<SeriesType, Time> {
    const common = { color: colour, priceLineVisible: false, lastValueVisible: plan.pane === "own" };
    const format = plan.pane === "own" ? { priceFormat: { type: "price" as const, precision: plan.digits, minMove: Number(`1e-${plan.digits}`) } } : {};
    if (line.kind === "histogram") {
      return this.chart.addSeries(HistogramSeries, { ...common, ...format, base: 0, lastValueVisible: false }, pane);
    }
    const style = line.kind === "dashed" ? LineStyle.Dashed : LineStyle.Solid;
    const width = line.kind === "dashed" ? 1 : plan.family === "BB" ? 1 : 2;
    // An average since the morning, or since ever, may be far away: prices decide the scale, not it.
    const onPrices = plan.family === "VWAP" ? { autoscaleInfoProvider: () => null } : {};
    const options = { ...common, ...format, ...onPrices, lineStyle: style, lineWidth: width as 1 | 2, crosshairMarkerVisible: false };
    return this.chart.addSeries(LineSeries, options, pane);
  }

  private addLevels(plan: Plan, series: ISeriesApi<SeriesType, Time> | undefined): void {
    if (!series || plan.pane !== "own") return;
    for (const price of plan.levels) {
      const line = { price, color: this.colours.level, lineWidth: 1 as const, lineStyle: LineStyle.Dashed, axisLabelVisible: false, title: "" };
      this.levels.push(series.createPriceLine(line));
    }
  }

  private applyColours(): void {
    const { colours } = this;
    this.chart.applyOptions({
      layout: {
        background: { type: ColorType.Solid, color: colours.background },
        textColor: colours.text,
        panes: { separatorColor: colours.line, separatorHoverColor: colours.grid },
      },
      grid: { vertLines: { color: colours.grid }, horzLines: { color: colours.grid } },
      crosshair: {
        vertLine: { color: colours.text, labelBackgroundColor: "#475569", style: LineStyle.Dashed },
        horzLine: { color: colours.text, labelBackgroundColor: "#475569", style: LineStyle.Dashed },
      },
    });
    this.candles.applyOptions({
      upColor: colours.up,
      downColor: colours.down,
      wickUpColor: colours.up,
      wickDownColor: colours.down,
      priceLineColor: colours.accent,
    });
    this.shading.colours(colours.gap, colours.gapEdge);
  }

  private applyZone(): void {
    const { zone } = this.scale;
    // The option belongs to scales of time, which a chart with a scale of its own does not know to be one.
    const marks = { tickMarkFormatter: (time: Time, type: TickMarkType) => markText(Number(time), type, zone) };
    this.chart.applyOptions({
      localization: { timeFormatter: (time: Time) => dateTime(Number(time), zone).slice(0, 16) },
      timeScale: marks as DeepPartial<HorzScaleOptions>,
    });
  }

  /** Lays the window over the newest bars. */
  newest(): void {
    const last = this.slots.length - 1;
    const room = Math.min(SHOWN, Math.max(40, Math.floor(this.host.clientWidth / 7)));
    // A chart that has just begun shows its few bars large.
    const width = Math.min(room, Math.max(36, Math.ceil(this.slots.length * 1.3)));
    this.chart.timeScale().setVisibleLogicalRange({ from: last - width, to: last + 4 });
  }

  /** Lays the window over the oldest bars that are known. */
  oldest(): void {
    const range = this.chart.timeScale().getVisibleLogicalRange();
    if (range) this.chart.timeScale().setVisibleLogicalRange({ from: -1, to: range.to - range.from - 1 });
  }

  /** Makes bars wider (above 1) or narrower around the cursor, else around the right end. */
  zoom(factor: number): void {
    const range = this.chart.timeScale().getVisibleLogicalRange();
    if (!range) return;
    const at = this.cursorAt === null ? -1 : indexAt(this.slots, this.cursorAt);
    const centre = at >= range.from && at <= range.to ? at : range.to;
    const width = Math.min(Math.max((range.to - range.from) / factor, 10), 4000);
    const share = (centre - range.from) / (range.to - range.from);
    this.chart.timeScale().setVisibleLogicalRange({ from: centre - width * share, to: centre + width * (1 - share) });
  }

  /** Moves the cursor by bars and the window after it. From none it begins at the newest bar in sight. */
  step(bars: number): void {
    const range = this.chart.timeScale().getVisibleLogicalRange();
    if (!range || this.slots.length === 0) return;
    const inSight = Math.min(Math.floor(range.to), this.slots.length - 1);
    const from = this.cursorAt === null ? inSight + (bars > 0 ? -1 : 1) : indexAt(this.slots, this.cursorAt);
    const at = Math.min(Math.max(from + bars, 0), this.slots.length - 1);
    const room = Math.max(range.from + 2 - at, 0) || Math.min(range.to - 2 - at, 0);
    if (room !== 0) this.chart.timeScale().setVisibleLogicalRange({ from: range.from - room, to: range.to - room });
    this.setCursor(this.slots[at]!);
  }

  clearCursor(): void {
    this.chart.clearCrosshairPosition();
    this.cursorAt = null;
    this.listener.cursor(null);
  }

  private setCursor(slot: Slot): void {
    const close = Number(pricesOf(slot.bar, this.side)?.[3] ?? Number.NaN);
    this.cursorAt = slot.t;
    if (Number.isFinite(close)) this.chart.setCrosshairPosition(close, utc(slot.t), this.candles);
    this.listener.cursor(slot.t);
  }

  private onCursor(time: Time | undefined, logical: number | null): void {
    const t = time === undefined ? (logical === null ? null : (this.slots[Math.round(logical)]?.t ?? null)) : Number(time);
    if (t === this.cursorAt) return;
    this.cursorAt = t;
    this.listener.cursor(t);
  }
}
