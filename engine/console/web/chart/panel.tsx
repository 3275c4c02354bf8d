// A chart with its legend, its choices and its table: joins what is fetched, what is live and what is drawn.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { shownTheme, zone } from "../prefs.ts";
import { padded } from "../decimal.ts";
import { count, words } from "../format.ts";
import { Check } from "../parts/field.tsx";
import { Empty } from "../parts/empty.tsx";
import { LoadError } from "../parts/notice.tsx";
import { More, Table, type Column } from "../parts/table.tsx";
import type { LiveState } from "../sse.ts";
import { withQuery } from "../api.ts";
import type { Bar, DepthRow, IndicatorSeries, Instrument, LiveBar, LiveGap } from "../types.ts";
import { useLive } from "../use.ts";
import { type Side, pricesOf } from "./bars.ts";
import { CandleChart } from "./candles.ts";
import { readColours } from "./colours.ts";
import { type Asks, ChartData, type Changed, type Subject } from "./data.ts";
import { Opens } from "./opens.tsx";
import { type Plan, chosenAtFirst, plan } from "./indicators.ts";
import { Legend, barText, instead } from "./legend.tsx";

interface Props {
  subject: Subject;
  sources: readonly string[];
  instrument: Instrument | null;
  side: Side;
  label: string;
  asks: Asks;
  onDepth: (rows: DepthRow[], whole: boolean) => void;
  onLive: (state: LiveState) => void;
}

/** What the viewer chose to see, for as long as the console is open; `null` until they chose. */
let chosen: Set<string> | null = null;

export function ChartPanel({ subject, sources, instrument, side, label, asks, onDepth, onLive }: Props) {
  const host = useRef<HTMLDivElement>(null);
  const chart = useRef<CandleChart | null>(null);
  const data = useRef<ChartData | null>(null);
  const changed = useRef<(what: Changed) => void>(() => {});
  const drawn = useRef<{ plan: Plan; series: IndicatorSeries }[]>([]);
  const [, setTurn] = useState(0);
  const [overTurn, setOverTurn] = useState(0);
  const [cursor, setCursor] = useState<number | null>(null);
  const [said, setSaid] = useState("");
  const [isTable, setTable] = useState(false);
  const [wanted, setWanted] = useState<Set<string> | null>(chosen);
  const digits = (instrument?.digits ?? 5) + (side === "mid" ? 1 : 0);

  const live = useLive(withQuery(`/api/live/symbols/${encodeURIComponent(subject.symbol)}`, { source: subject.source, timeframe: subject.timeframe }), {
    depth: (rows, whole) => onDepth(rows as DepthRow[], whole),
    bar: (event) => {
      const { source, timeframe, bar } = event as LiveBar;
      if (source === subject.source && timeframe === subject.timeframe) data.current?.live(bar);
    },
    gap: (event) => data.current?.gapChanged((event as LiveGap).state),
  });
  useEffect(() => onLive(live), [live]);
  // Whatever happened while the stream was away is fetched when it is back.
  const wasAway = useRef(false);
  useEffect(() => {
    if (live.kind === "away") wasAway.current = true;
    if (live.kind === "live" && wasAway.current) {
      wasAway.current = false;
      void data.current?.newest();
    }
  }, [live.kind]);

  useEffect(() => {
    const made = new ChartData(subject, asks, (what) => changed.current(what));
    data.current = made;
    void made.start();
    return () => made.stop();
  }, [subject.symbol, subject.source, subject.timeframe]);

  useEffect(() => {
    if (!host.current) return;
    const made = new CandleChart(host.current, readColours(shownTheme.peek()), zone.peek(), {
      cursor: setCursor,
      older: () => void data.current?.older(),
    });
    chart.current = made;
    return () => {
      made.dispose();
      chart.current = null;
    };
  }, []);

  const over = (): void => {
    const [now, on] = [data.current, chart.current];
    if (!now || !on) return;
    const plans = plansOf(now, side);
    const show = wanted ?? new Set(chosenAtFirst(plans.map(({ plan }) => plan)));
    drawn.current = plans.filter(({ plan }) => show.has(plan.indicator));
    on.setIndicators(drawn.current);
    const { whole, part } = now.holes();
    on.setHoles(whole, part);
  };
  const all = (isOther: boolean): void => {
    if (!data.current || !chart.current) return;
    chart.current.setSlots(data.current.slots(), side, subject.timeframe, isOther);
    over();
  };
  changed.current = (what) => {
    const newest = data.current?.bars.newest;
    if (what === "newest" && newest) chart.current?.setNewest(newest);
    if (what === "bars" || what === "over") {
      all(false);
      setOverTurn((n) => n + 1);
    }
    setTurn((n) => n + 1);
  };
  // Who there is comes with the instruments, perhaps after the bars.
  useEffect(() => {
    if (data.current) data.current.sources = sources;
    all(false);
  }, [sources.join()]);
  useEffect(() => chart.current?.setDigits(digits), [digits]);
  useEffect(() => all(false), [side]);
  useEffect(over, [wanted]);
  useEffect(() => {
    chart.current?.setColours(readColours(shownTheme.value));
    over();
  }, [shownTheme.value]);
  useEffect(() => chart.current?.setZone(zone.value), [zone.value]);

  const onKey = (event: KeyboardEvent): void => {
    const on = chart.current;
    if (!on || event.altKey || event.ctrlKey || event.metaKey) return;
    const far = event.shiftKey ? 10 : 1;
    const does: Record<string, () => void> = {
      ArrowLeft: () => on.step(-far),
      ArrowRight: () => on.step(far),
      PageUp: () => on.step(-50),
      PageDown: () => on.step(50),
      Home: () => on.oldest(),
      End: () => on.newest(),
      "+": () => on.zoom(1.3),
      "=": () => on.zoom(1.3),
      "-": () => on.zoom(1 / 1.3),
      Escape: () => on.clearCursor(),
    };
    const act = does[event.key];
    if (!act) return;
    event.preventDefault();
    act();
    const bar = data.current?.bars.at(on.cursor ?? Number.NaN);
    if (event.key.startsWith("Arrow") || event.key.startsWith("Page")) setSaid(bar ? barText(bar, side, instrument?.digits ?? 0, zone.value) : "No bar");
  };

  const now = data.current;
  const bars = now?.bars.all ?? [];
  const plans = useMemo(() => (now ? plansOf(now, side).map(({ plan }) => plan) : []), [overTurn, side]);
  const shown = wanted ?? new Set(chosenAtFirst(plans));
  const choose = (indicator: string, isOn: boolean): void => {
    const next = new Set(shown);
    if (isOn) next.add(indicator);
    else next.delete(indicator);
    chosen = next;
    setWanted(next);
  };
  const underCursor = cursor === null ? (now?.bars.newest ?? null) : (now?.bars.at(cursor) ?? null);
  const isEmpty = now !== null && !now.loading && !now.error && bars.length === 0;

  return (
    <>
      <div class="chart-bar second">
        <Legend
          bar={underCursor}
          side={side}
          cursor={cursor}
          instrument={instrument}
          zone={zone.value}
          gaps={now && cursor !== null ? now.gapsAt(cursor) : []}
          drawn={drawn.current}
          colours={chart.current?.lineColours() ?? new Map()}
        />
        <div class="row">
          {plans.length > 0 ? <Choices plans={plans} shown={shown} choose={choose} /> : null}
          <button type="button" class="small" aria-pressed={isTable} onClick={() => setTable(!isTable)}>{isTable ? "Show as chart" : "Show as table"}</button>
        </div>
      </div>
      <LoadError error={now?.error ?? null} stale={bars.length > 0} retry={() => void now?.newest()} />
      <div class="chart-frame" hidden={isTable} aria-busy={now === null || now.loading}>
        <div ref={host} class="chart-host" tabIndex={0} role="application" aria-roledescription="chart" aria-label={`Candles: ${label}`} aria-describedby="chart-keys" onKeyDown={onKey} onBlur={() => chart.current?.clearCursor()} />
        {now === null || (now.loading && bars.length === 0) ? <div class="chart-over" role="status"><span class="spinner" aria-hidden="true" />Loading bars</div> : null}
        {now?.loadingOlder ? <div class="chart-older" role="status">Loading older bars</div> : null}
        {isEmpty ? <div class="chart-over"><Empty title="No bars yet">Bars of {subject.timeframe} stand here as soon as prices make them, or a backfill has fetched them.</Empty></div> : null}
        <p class="hidden" role="status" aria-live="polite">{said}</p>
      </div>
      {isTable ? <AsTable bars={bars} side={side} digits={instrument?.digits ?? 0} label={label} loading={now?.loading ?? true} /> : null}
      {isTable && now ? <More more={now.bars.next !== null} loading={now.loadingOlder} loadMore={() => void now.older()} shown={bars.length} /> : null}
      <p id="chart-keys" class="quiet keys pad">
        Keys on the chart: <kbd>←</kbd> <kbd>→</kbd> bar by bar (<kbd>Shift</kbd>: ten), <kbd>+</kbd> <kbd>−</kbd> zoom, <kbd>Home</kbd> <kbd>End</kbd> oldest and newest, <kbd>Esc</kbd> lets go. Scroll left for older bars. Shaded: data is missing.
      </p>
    </>
  );
}

/** How each indicator is drawn over these bars. */
function plansOf(data: ChartData, side: Side): { plan: Plan; series: IndicatorSeries }[] {
  const ends = data.bars.all.map((bar) => pricesOf(bar, side)).filter((prices) => prices !== null);
  const low = Math.min(...ends.map(([, , l]) => Number(l)));
  const high = Math.max(...ends.map(([, h]) => Number(h)));
  const all = data.indicators.filter(({ points }) => points.length > 0).map((series) => ({ plan: plan(series, low, high), series }));
  return all.sort((a, b) => a.plan.indicator.localeCompare(b.plan.indicator));
}

function Choices({ plans, shown, choose }: { plans: Plan[]; shown: Set<string>; choose: (indicator: string, isOn: boolean) => void }) {
  const [open, setOpen] = useState(false);
  return (
    <div class="person" onKeyDown={(e) => e.key === "Escape" && setOpen(false)} onFocusOut={(e) => !e.currentTarget.contains(e.relatedTarget as Node | null) && setOpen(false)}>
      <button type="button" class="small" aria-expanded={open} aria-controls="indicator-menu" onClick={() => setOpen(!open)}>Indicators ({plans.filter(({ indicator }) => shown.has(indicator)).length})</button>
      <div id="indicator-menu" class="popover choices" hidden={!open}>
        {plans.map(({ indicator }) => <Check key={indicator} label={indicator} checked={shown.has(indicator)} onChange={(isOn) => choose(indicator, isOn)} />)}
      </div>
    </div>
  );
}

function AsTable({ bars, side, digits, label, loading }: { bars: readonly Bar[]; side: Side; digits: number; label: string; loading: boolean }) {
  const price = (n: 0 | 1 | 2 | 3) => (bar: Bar) => {
    const value = pricesOf(bar, side)?.[n];
    return value === undefined ? "–" : padded(value, digits);
  };
  const columns: Column<Bar>[] = [
    { title: "Opens", heading: true, width: "170px", cell: (bar) => <Opens at={bar.t} /> },
    { title: "Open", numeric: true, cell: price(0) },
    { title: "High", numeric: true, cell: price(1) },
    { title: "Low", numeric: true, cell: price(2) },
    { title: "Close", numeric: true, cell: price(3) },
    { title: "Ticks", numeric: true, width: "12%", cell: (bar) => count(bar.ticks) },
    { title: "State", width: "120px", cell: (bar) => <>{bar.state === "provisional" ? "Forming" : words(bar.state)}<span class="sub">{instead(bar, side)}</span></> },
  ];
  return (
    <div class="chart-table">
      <Table caption={label} columns={columns} rows={[...bars].reverse()} rowKey={(bar) => bar.t} loading={loading} minWidth="640px" narrow="scroll" empty={<Empty title="No bars yet" />} />
    </div>
  );
}
