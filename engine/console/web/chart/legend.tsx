// What stands over the chart: the bar under the cursor in exact digits, and what is drawn over it.

import { padded, subtract } from "../decimal.ts";
import { count } from "../format.ts";
import { cause, gapState } from "../live/states.ts";
import { dateTime, type ZoneName } from "../time.ts";
import type { Bar, Gap, IndicatorSeries, Instrument } from "../types.ts";
import { type Side, indexAt, pricesOf, sideOf } from "./bars.ts";
import type { Plan } from "./indicators.ts";

interface Props {
  bar: Bar | null;
  side: Side;
  /** The time under the cursor; `null` where it stands nowhere and the newest bar is shown. */
  cursor: number | null;
  instrument: Instrument | null;
  zone: ZoneName;
  gaps: readonly Gap[];
  drawn: readonly { plan: Plan; series: IndicatorSeries }[];
  colours: ReadonlyMap<string, string>;
}

/** With its sign and exact digits. */
function signed(value: string): string {
  return value.startsWith("-") ? value.replace("-", "−") : /[1-9]/.test(value) ? `+${value}` : value;
}

const STANDS_IN: Record<Side, string> = { bid: "bid only", ask: "ask only", mid: "mid only", last: "trades only" };

/** What is shown where the bar does not have what was asked for. */
export function instead(bar: Bar, side: Side): string {
  const shown = sideOf(bar, side);
  return shown === side ? "" : STANDS_IN[shown];
}

/** The bar in words: for the line over the chart, and for whoever hears it. */
export function barText(bar: Bar, side: Side, digits: number, zone: ZoneName): string {
  const prices = pricesOf(bar, side);
  const at = dateTime(bar.t, zone).slice(0, 16);
  if (!prices) return `${at}, no ${side} price`;
  const [o, h, l, c] = prices.map((price) => padded(price, digits));
  return `${at}, open ${o}, high ${h}, low ${l}, close ${c}`;
}

export function Legend({ bar, side, cursor, instrument, zone, gaps, drawn, colours }: Props) {
  const digits = instrument?.digits ?? 0;
  const prices = pricesOf(bar, side);
  const t = cursor ?? bar?.t ?? null;
  const change = prices ? subtract(prices[3], prices[0]) : null;
  const way = change === null || !/[1-9]/.test(change) ? "" : change.startsWith("-") ? "down" : "up";
  return (
    <div class="legend">
      <div class="legend-row">
        <span class="legend-time">{t === null ? "–" : dateTime(t, zone).slice(0, 16)}</span>
        {(["O", "H", "L", "C"] as const).map((name, n) => (
          <span key={name} class="legend-price"><span class="quiet">{name}</span> <b class={way}>{prices ? padded(prices[n]!, digits) : "–"}</b></span>
        ))}
        <span class={`legend-change ${way}`}>{change === null ? "" : signed(change)}</span>
        <span class="quiet">{bar && prices ? instead(bar, side) : ""}</span>
        <span class="quiet">{bar?.ticks ? `${count(bar.ticks)} ticks` : ""}</span>
        <span class="quiet">{bar === null ? "" : bar.state === "provisional" ? "forming" : bar.revision > 0 ? `revised ${bar.revision}×` : bar.origin !== "own" ? bar.origin : ""}</span>
      </div>
      {gaps.length > 0 ? (
        <div class="legend-row legend-gap">
          {gaps.slice(0, 3).map((gap) => (
            <span key={`${gap.epoch}/${gap.id}`}>
              Gap of {gap.source || "all sources"}: {cause(gap.cause)[0].toLowerCase()}, {gap.from === null ? "the start" : dateTime(gap.from, zone).slice(11)} to {gap.to === null ? "now" : dateTime(gap.to, zone).slice(11)}, {gapState(gap.state).label.toLowerCase()}
            </span>
          ))}
        </div>
      ) : null}
      <div class="legend-row legend-lines">
        {drawn.map(({ plan, series }) => (
          <span key={plan.indicator} class="legend-line">
            <span class="quiet">{plan.indicator}</span>{" "}
            {plan.lines.map((line) => {
              const point = t === null ? undefined : series.points[indexOfPoint(series, t)];
              const value = point?.[0] === t ? point?.[line.index] : null;
              const places = plan.pane === "price" ? digits + 1 : plan.digits;
              return (
                <span key={line.output} class="legend-value">
                  <Swatch colour={colours.get(`${plan.indicator}/${line.output}`)} />
                  {plan.lines.length > 1 ? <span class="quiet">{line.output} </span> : null}
                  {typeof value === "number" ? value.toFixed(places) : "–"}
                </span>
              );
            })}
          </span>
        ))}
      </div>
    </div>
  );
}

const indexOfPoint = (series: IndicatorSeries, t: number): number => {
  const times = series.points.map(([at]) => ({ t: at }));
  return indexAt(times, t);
};

function Swatch({ colour }: { colour: string | undefined }) {
  return <svg class="swatch" viewBox="0 0 10 10" width="10" height="10" aria-hidden="true"><rect width="10" height="10" rx="2" fill={colour ?? "none"} /></svg>;
}
