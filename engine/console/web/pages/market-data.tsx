// Market data: what is stored, bar by bar or tick by tick, to look at and to take away.

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { withQuery, type Query } from "../api.ts";
import { Opens } from "../chart/opens.tsx";
import { TIMEFRAMES, inWords, sorted } from "../chart/timeframes.ts";
import { padded } from "../decimal.ts";
import { bytes, count, plural, words } from "../format.ts";
import { dayEnd, dayStart } from "../live/dates.ts";
import { Badge } from "../parts/badge.tsx";
import { Empty } from "../parts/empty.tsx";
import { Field, Select } from "../parts/field.tsx";
import { LoadError } from "../parts/notice.tsx";
import { Figure, Figures, Head, Panel } from "../parts/panel.tsx";
import { Table, type Column } from "../parts/table.tsx";
import { When } from "../parts/time.tsx";
import { place, setQuery } from "../router.ts";
import { date } from "../time.ts";
import type { Bar, Instrument, Ohlc, Schemas, SeriesStatistics, TableStatistics, Tick } from "../types.ts";
import { useLoad } from "../use.ts";

const PAGE = 100;
const TICKS = "ticks";

export default function MarketData() {
  const instruments = useLoad<Schemas["Instruments"]>("/api/instruments");
  const statistics = useLoad<Schemas["StatisticsShown"]>("/api/market-data/statistics", {}, 60_000);
  const { query } = place.value;
  const list = instruments.data?.instruments ?? [];
  const stored = statistics.data?.series ?? [];
  const source = query.get("source") ?? "best";
  const offered = list.filter(({ sources }) => source === "best" || sources.includes(source));
  const symbol = query.get("symbol") ?? offered[0]?.symbol ?? "";
  const timeframe = query.get("timeframe") ?? "M1";
  const [from, to] = [query.get("from") ?? "", query.get("to") ?? ""];
  const instrument = list.find((one) => one.symbol === symbol) ?? null;
  const sources = [...new Set([...list.flatMap((one) => one.sources), ...stored.map((one) => one.source)])].filter((name) => name !== "best").sort();
  const symbols = [...new Set([...offered.map((one) => one.symbol), ...(symbol ? [symbol] : [])])].sort();
  const timeframes = sorted([...TIMEFRAMES, ...stored.flatMap((one) => (one.timeframe ? [one.timeframe] : []))]);
  const isBackwards = from !== "" && to !== "" && from > to;
  const isTicks = timeframe === TICKS;
  const filters: Query = { source, symbol, timeframe: isTicks ? null : timeframe, from: dayStart(from), to: dayEnd(to) };
  const isReady = symbol !== "" && !isBackwards;

  return (
    <div class="stack">
      <Head title="Market data" about="What is stored of each source, newest first. Days are days of UTC." />
      <LoadError error={instruments.error} retry={instruments.reload} stale={instruments.data !== undefined} />
      <Panel flush>
        <div class="filters market-filters">
          <Select label="Source" value={source} options={[["best", "Best price"], ...sources.map((name) => [name, name] as const)]} onChange={(chosen) => setQuery({ source: chosen === "best" ? null : chosen })} />
          <Select label="Symbol" value={symbol} options={symbols.length ? symbols.map((name) => [name, name] as const) : [["", "None yet"]]} onChange={(chosen) => setQuery({ symbol: chosen })} />
          <Select label="Timeframe" value={timeframe} options={[...timeframes.map((word) => [word, `${word}, ${inWords(word)}`] as const), [TICKS, "Ticks"]]} onChange={(chosen) => setQuery({ timeframe: chosen })} />
          <Field label="From">{(props) => <input {...props} type="date" value={from} max={to || undefined} onChange={(e) => setQuery({ from: e.currentTarget.value || null })} />}</Field>
          <Field label="To" error={isBackwards ? "It is before the first day" : null}>{(props) => <input {...props} type="date" value={to} onChange={(e) => setQuery({ to: e.currentTarget.value || null })} />}</Field>
          {from || to ? <button type="button" class="link" onClick={() => setQuery({ from: null, to: null })}>All days</button> : null}
          <span class="grow" />
          {isReady && !isTicks ? <a class="button" href={withQuery("/api/bars.csv", filters)} download={`${symbol}-${timeframe}-${source}.csv`}>Save as CSV</a> : null}
        </div>
        {isReady ? <Rows key={withQuery("", filters) + timeframe} isTicks={isTicks} filters={filters} instrument={instrument} /> : null}
        {!isReady && instruments.data && !isBackwards ? <Empty title="No symbols yet" action={<a class="button" href="/connections">Look at the connections</a>}>A connection must be subscribed to a symbol first.</Empty> : null}
      </Panel>
      {statistics.error && !statistics.data ? null : <Stored statistics={statistics.data} loading={statistics.loading} source={source} symbol={symbol} />}
      <LoadError error={statistics.error} retry={statistics.reload} stale={statistics.data !== undefined} />
    </div>
  );
}

/** One page of rows, with the way to older and newer ones. */
function Rows({ isTicks, filters, instrument }: { isTicks: boolean; filters: Query; instrument: Instrument | null }) {
  // Where each page begins; the first begins at the newest row.
  const [pages, setPages] = useState<(string | null)[]>([null]);
  const before = pages.at(-1) ?? null;
  const path = isTicks ? "/api/ticks" : "/api/bars";
  // The newest page follows what comes in.
  const { data, error, loading, reload } = useLoad<Partial<Schemas["Bars"] & Schemas["Ticks"]>>(path, { ...filters, limit: PAGE, before }, before === null ? 5000 : null);
  const next = data?.next ?? null;
  const digits = instrument?.digits ?? 0;
  const rows = (isTicks ? data?.ticks : data?.bars) ?? [];
  const empty = (
    <Empty title={isTicks ? "No ticks here" : "No bars here"}>
      Nothing is stored for this choice. {isTicks ? "Raw ticks are stored only where the connection says so." : "Bars of the past come with a backfill of the connection."}
    </Empty>
  );
  return (
    <>
      <LoadError error={error} stale={rows.length > 0} retry={reload} />
      <div class="tall">
      {isTicks ? (
        <Table caption="Ticks, newest first" columns={tickColumns(digits)} rows={data?.ticks ?? []} rowKey={(row) => `${row.at}/${row.bid}/${row.ask}/${row.verdict}`} minWidth="980px" narrow="scroll" loading={loading} empty={error ? <></> : empty} />
      ) : (
        <BarTable bars={data?.bars ?? []} digits={digits} loading={loading} empty={error ? <></> : empty} />
      )}
      </div>
      <div class="row between pager">
        <span class="quiet" role="status">{loading ? "Loading" : `${plural(rows.length, isTicks ? "tick" : "bar")}, page ${pages.length}`}</span>
        <span class="row">
          <button type="button" disabled={pages.length === 1} onClick={() => setPages(pages.slice(0, -1))}>Newer</button>
          <button type="button" disabled={next === null} onClick={() => setPages([...pages, next])}>Older</button>
        </span>
      </div>
    </>
  );
}

function BarTable({ bars, digits, loading, empty }: { bars: Bar[]; digits: number; loading: boolean; empty: ComponentChildren }) {
  const has = (side: "bid" | "ask" | "mid" | "last"): boolean => bars.some((bar) => bar[side] !== null);
  // What the bars have: quotes as bid and ask, what exchanges tell of the past as trades, mids where there is nothing else.
  const told = (["bid", "ask", "last"] as const).filter(has);
  const sides = told.length > 0 ? told : (["mid"] as const);
  const hasVolume = bars.some(({ volume }) => volume !== null);
  const price = (prices: Ohlc | null, n: 0 | 1 | 2 | 3): string => (prices ? padded(prices[n], digits) : "–");
  const columns: Column<Bar>[] = [
    { title: "Opens", heading: true, width: "168px", cell: (bar) => <Opens at={bar.t} /> },
    ...sides.flatMap((side): Column<Bar>[] =>
      (["open", "high", "low", "close"] as const).map((name, n) => ({ title: `${side === "last" ? "Trade" : words(side)} ${name}`, numeric: true, cell: (bar) => price(bar[side], n as 0 | 1 | 2 | 3) })),
    ),
    { title: "Ticks", numeric: true, width: "76px", cell: (bar) => count(bar.ticks) },
    ...(hasVolume ? [{ title: "Volume", numeric: true, width: "124px", cell: (bar: Bar) => bar.volume ?? "–" }] : []),
    { title: "Origin", width: "92px", cell: (bar) => ORIGINS[bar.origin] ?? words(bar.origin) },
    { title: "State", width: "118px", cell: (bar) => <Badge state={bar.state} label={bar.state === "revised" ? `Revised ${bar.revision}×` : words(bar.state)} tone={bar.state === "final" ? "mute" : "info"} /> },
  ];
  return <Table caption="Bars, newest first" columns={columns} rows={bars} rowKey={(bar) => bar.t} minWidth={`${(hasVolume ? 580 : 456) + sides.length * 4 * 94}px`} narrow="scroll" loading={loading} empty={empty} />;
}

/** Where bars come from. */
const ORIGINS: Record<string, string> = { own: "Own ticks", polled: "Polled", backfill: "Backfill", repair: "Repair" };

function tickColumns(digits: number): Column<Tick>[] {
  const price = (value: string | null): string => (value === null ? "–" : padded(value, digits));
  return [
    { title: "Received", heading: true, width: "206px", cell: (tick) => <When at={tick.at} ms /> },
    { title: "Venue's time", width: "206px", cell: (tick) => <When at={tick.event_at} ms /> },
    { title: "Bid", numeric: true, cell: (tick) => price(tick.bid) },
    { title: "Ask", numeric: true, cell: (tick) => price(tick.ask) },
    { title: "Bid size", numeric: true, cell: (tick) => tick.bid_size ?? "–" },
    { title: "Ask size", numeric: true, cell: (tick) => tick.ask_size ?? "–" },
    { title: "Verdict", width: "210px", cell: (tick) => <><Badge state={tick.verdict} tone={tick.verdict === "accepted" ? "good" : "warn"} />{tick.reasons.length > 0 ? <span class="sub">{tick.reasons.map(words).join(", ")}</span> : null}</> },
  ];
}

/** How much is stored, and since when. */
function Stored({ statistics, loading, source, symbol }: { statistics: Schemas["StatisticsShown"] | undefined; loading: boolean; source: string; symbol: string }) {
  const tables = statistics?.tables ?? [];
  const per = (name: string): number | null => tables.find(({ table }) => table === name)?.bytes_per_row ?? null;
  const total = tables.reduce((sum, { rows }) => sum + rows, 0);
  const all = tables.reduce((sum, one) => sum + one.bytes, 0);
  const oldest = tables.map((one) => one.oldest).filter((at) => at !== null).sort()[0] ?? null;
  const series = (statistics?.series ?? []).filter((one) => one.source === source && one.symbol === symbol);
  return (
    <>
      <Figures>
        <Figure label="Rows stored" value={statistics ? count(total) : "–"} detail={`in ${tables.length} tables`} />
        <Figure label="On disk" value={statistics ? bytes(all) : "–"} detail="compressed" />
        <Figure label="A bar takes" value={statistics ? per(TABLE_BARS) === null ? "–" : `${per(TABLE_BARS)!.toFixed(1)} B` : "–"} detail="on disk" />
        <Figure label="A tick takes" value={statistics ? per(TABLE_TICKS) === null ? "–" : `${per(TABLE_TICKS)!.toFixed(1)} B` : "–"} detail="on disk" />
        <Figure label="Reaches back to" value={date(oldest, "UTC")} detail="oldest row" />
      </Figures>
      <div class="columns">
        <Panel flush title="Tables">
          <Table
            caption="Stored rows by table"
            columns={[
              { title: "Table", heading: true, width: "27%", cell: (row) => row.table },
              { title: "Rows", numeric: true, width: "20%", cell: (row) => count(row.rows) },
              { title: "Size", numeric: true, cell: (row) => bytes(row.bytes) },
              { title: "A row", numeric: true, cell: (row) => (row.bytes_per_row === null ? "–" : `${row.bytes_per_row.toFixed(1)} B`) },
              { title: "Since", numeric: true, width: "21%", cell: (row) => <Since row={row} /> },
            ] satisfies Column<TableStatistics>[]}
            rows={tables}
            rowKey={(row) => row.table}
            loading={loading}
            empty={<Empty title="Nothing is stored yet" />}
          />
        </Panel>
        <Panel flush title={`Series of ${symbol || "this symbol"}, ${source === "best" ? "best price" : source}`}>
            <Table
              caption="Stored rows by timeframe"
              columns={[
                { title: "Length", heading: true, width: "27%", cell: (row) => (row.timeframe ? <>{row.timeframe}<span class="sub">{inWords(row.timeframe)}</span></> : "Ticks") },
                { title: "Rows", numeric: true, width: "28%", cell: (row) => count(row.rows) },
                { title: "Since", numeric: true, cell: (row) => <Since row={row} /> },
              ] satisfies Column<SeriesStatistics>[]}
              rows={[...series].sort((a, b) => order(a) - order(b))}
              rowKey={(row) => row.timeframe ?? TICKS}
              loading={loading}
              empty={<Empty title="Nothing is stored of it yet" />}
            />
        </Panel>
      </div>
    </>
  );
}

function Since({ row }: { row: Pick<TableStatistics, "oldest" | "newest"> }) {
  if (row.oldest === null) return <>–</>;
  return <><When at={row.oldest} only="date" /><span class="sub">to <When at={row.newest} only="date" /></span></>;
}

const TABLE_BARS = "bars";
const TABLE_TICKS = "ticks";
const order = (one: SeriesStatistics): number => (one.timeframe ? sorted([...TIMEFRAMES, one.timeframe]).indexOf(one.timeframe) : 99);
