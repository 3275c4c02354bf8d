// A chart with its legend, its choices and its table.

import type { RefObject } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { part, withQuery } from "../api.ts";
import { padded } from "../decimal.ts";
import { count, words } from "../format.ts";
import { Empty } from "../parts/empty.tsx";
import { Check } from "../parts/field.tsx";
import { LoadError } from "../parts/notice.tsx";
import { Popover } from "../parts/popover.tsx";
import { More, Table, type Column } from "../parts/table.tsx";
import { shownTheme, zone } from "../prefs.ts";
import type { LiveState } from "../sse.ts";
import type { Bar, DepthRow, Instrument, LiveBar, LiveGap } from "../types.ts";
import { useLive } from "../use.ts";
import { type Side, pricesOf } from "./bars.ts";
import type { Asks, Subject } from "./data.ts";
import { Legend, barText, instead } from "./legend.tsx";
import { Opens } from "./opens.tsx";
import { ChartView } from "./view.ts";

interface Props {
  /** Stays the same for the life of the panel: another one is another panel. */
  subject: Subject;
  sources: readonly string[];
  instrument: Instrument | null;
  side: Side;
  label: string;
  asks: Asks;
  onDepth: (rows: DepthRow[], whole: boolean) => void;
  onLive: (state: LiveState) => void;
}

export function ChartPanel({ subject, sources, instrument, side, label, asks, onDepth, onLive }: Props) {
  const [, redraw] = useState(0);
  const [view] = useState(() => new ChartView(subject, asks, side, () => redraw((n) => n + 1)));
  const [isTable, setTable] = useState(false);
  const digits = instrument?.digits ?? 5;
  useStream(view, subject, onDepth, onLive);
  const host = useDrawing(view, side, sources, digits);
  const { data } = view;
  const bars = data.bars.all;
  return (
    <>
      <div class="chart-bar second">
        <Legend bar={view.bar} side={side} cursor={view.cursor} instrument={instrument} zone={zone.value} gaps={view.gaps} drawn={view.drawn} colours={view.colours} />
        <div class="row">
          {view.all.length > 0 ? <Choices view={view} /> : null}
          <button type="button" class="small" aria-pressed={isTable} onClick={() => setTable(!isTable)}>{isTable ? "Show as chart" : "Show as table"}</button>
        </div>
      </div>
      <LoadError error={data.error} stale={bars.length > 0} retry={() => void data.newest()} />
      <div class="chart-frame" hidden={isTable} aria-busy={data.loading}>
        <Host host={host} view={view} side={side} digits={instrument?.digits ?? 0} label={label} />
        {data.loading && bars.length === 0 ? <div class="chart-over" role="status"><span class="spinner" aria-hidden="true" />Loading bars</div> : null}
        {data.loadingOlder ? <div class="chart-older" role="status">Loading older bars</div> : null}
        {!data.loading && !data.error && bars.length === 0 ? (
          <div class="chart-over"><Empty title="No bars yet">Bars of {subject.timeframe} stand here as soon as prices make them, or a backfill has fetched them.</Empty></div>
        ) : null}
      </div>
      {isTable ? <AsTable bars={bars} side={side} digits={instrument?.digits ?? 0} label={label} loading={data.loading} /> : null}
      {isTable ? <More more={data.bars.next !== null} loading={data.loadingOlder} loadMore={() => void data.older()} shown={bars.length} /> : null}
      <p id="chart-keys" class="quiet keys pad">
        Keys on the chart: <kbd>←</kbd> <kbd>→</kbd> bar by bar (<kbd>Shift</kbd>: ten), <kbd>+</kbd> <kbd>−</kbd> zoom, <kbd>Home</kbd> <kbd>End</kbd> oldest and newest, <kbd>Esc</kbd> lets go. Scroll left for older bars. Shaded: data is missing.
      </p>
    </>
  );
}

/** Takes what is live; whatever happened while the stream was away is fetched when it is back. */
function useStream(view: ChartView, { symbol, source, timeframe }: Subject, onDepth: Props["onDepth"], onLive: Props["onLive"]): void {
  const live = useLive(withQuery(`/api/live/symbols/${part(symbol)}`, { source, timeframe }), {
    depth: (rows, whole) => onDepth(rows as DepthRow[], whole),
    bar: (event) => {
      const told = event as LiveBar;
      if (told.source === source && told.timeframe === timeframe) view.data.live(told.bar);
    },
    // The first ones tell of what the ledger, read at the same time, has as well.
    gap: (event) => view.data.gapChanged((event as LiveGap).state),
  });
  const wasAway = useRef(false);
  useEffect(() => {
    onLive(live);
    if (live.kind === "away") wasAway.current = true;
    if (live.kind !== "live" || !wasAway.current) return;
    wasAway.current = false;
    void view.data.newest();
  }, [live]);
}

/** Draws for as long as the panel is there. */
function useDrawing(view: ChartView, side: Side, sources: readonly string[], digits: number) {
  const host = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (host.current) view.mount(host.current, shownTheme.value, zone.value);
  }, [shownTheme.value, zone.value]);
  useEffect(() => () => view.dispose(), []);
  // A mid has half a point more.
  useEffect(() => view.setDigits(digits + (side === "mid" ? 1 : 0)), [digits, side]);
  useEffect(() => view.setSide(side), [side]);
  useEffect(() => view.setSources(sources), [sources.join()]);
  return host;
}

/** Where the chart is drawn, and the keys that work on it. What the cursor comes to is said aloud. */
function Host({ host, view, side, digits, label }: { host: RefObject<HTMLDivElement | null>; view: ChartView; side: Side; digits: number; label: string }) {
  const [said, setSaid] = useState("");
  const onKey = (event: KeyboardEvent): void => {
    if (event.altKey || event.ctrlKey || event.metaKey || !view.key(event)) return;
    event.preventDefault();
    if (!/^(Arrow|Page)/.test(event.key)) return;
    setSaid(view.bar ? barText(view.bar, side, digits, zone.value) : "No bar: data is missing");
  };
  return (
    <>
      <div ref={host} class="chart-host" tabIndex={0} role="application" aria-roledescription="chart" aria-label={`Candles: ${label}`} aria-describedby="chart-keys" onKeyDown={onKey} onBlur={() => view.release()} />
      <p class="hidden" role="status">{said}</p>
    </>
  );
}

function Choices({ view }: { view: ChartView }) {
  const { shown } = view;
  return (
    <Popover id="indicator-menu" button="small" kind="choices" title={`Indicators (${view.drawn.length})`}>
      {() => view.all.map(({ plan: { indicator } }) => <Check key={indicator} label={indicator} checked={shown.has(indicator)} onChange={(isOn) => view.choose(indicator, isOn)} />)}
    </Popover>
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
      <Table caption={label} columns={columns} rows={[...bars].reverse()} rowKey={(bar) => bar.t} loading={loading} minWidth="760px" narrow="scroll" empty={<Empty title="No bars yet" />} />
    </div>
  );
}
