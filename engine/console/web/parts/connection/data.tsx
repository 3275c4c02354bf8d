// The stored bars of a connection, and filling in older ones.

import { useState } from "preact/hooks";
import { padded } from "../../decimal.ts";
import { count } from "../../format.ts";
import type { Adapter, Bar, Connection, Ohlc } from "../../types.ts";
import { usePages } from "../../use.ts";
import { Badge } from "../badge.tsx";
import { Empty } from "../empty.tsx";
import { Field, Segments, Select } from "../field.tsx";
import { LoadError } from "../notice.tsx";
import { Panel } from "../panel.tsx";
import { More, Table } from "../table.tsx";
import type { Column } from "../table.tsx";
import { When } from "../time.tsx";
import { BackfillForm } from "./backfill.tsx";

type Side = "bid" | "ask" | "mid" | "last";

export function ConnectionData({ one, adapter, path, change }: { one: Connection; adapter: Adapter | undefined; path: string; change: boolean }) {
  const symbols = Object.keys(one.symbols);
  const [symbol, setSymbol] = useState(symbols[0] ?? "");
  const [timeframe, setTimeframe] = useState(one.timeframes[0] ?? "M1");
  const [from, setFrom] = useState("");
  const [to, setTo] = useState("");
  const [side, setSide] = useState<Side>("bid");
  const query = { source: one.name, symbol, timeframe, from: from || null, to: to || null };
  const { rows, error, loading, more, loadMore, reload } = usePages<Bar>(symbol ? "/api/bars" : null, "bars", { ...query, limit: 100 });
  if (!symbol) return <Empty title="No symbols are chosen">Choose some on the edit tab; their bars then appear here.</Empty>;
  const options = (list: string[]) => list.map((each): [string, string] => [each, each]);
  const sides = rows.find((row) => !row[side]) && !rows.some((row) => row[side]);
  return (
    <div class="stack">
      {change && adapter?.has_history ? <BackfillForm one={one} path={path} symbol={symbol} timeframe={timeframe} onDone={reload} /> : null}
      <Panel flush title="Stored bars" aside={<Segments<Side> label="Price" value={side} onChange={setSide} options={[["bid", "Bid"], ["ask", "Ask"], ["mid", "Mid"], ["last", "Last"]]} />}>
        <div class="filters">
          <Select label="Symbol" value={symbol} onChange={setSymbol} options={options(symbols)} />
          <Select label="Timeframe" value={timeframe} onChange={setTimeframe} options={options([...new Set([...one.timeframes, ...(adapter?.timeframes ?? ["M1"])])])} />
          <Field label="From">{(props) => <input {...props} type="date" value={from} onInput={(e) => setFrom(e.currentTarget.value)} />}</Field>
          <Field label="To">{(props) => <input {...props} type="date" value={to} onInput={(e) => setTo(e.currentTarget.value)} />}</Field>
          <button type="button" disabled={loading} onClick={reload}>Refresh</button>
        </div>
        <LoadError error={error} stale={rows.length > 0} retry={reload} />
        {sides ? <p class="empty quiet">These bars have no {side} price; choose another above.</p> : null}
        <Table
          caption={`Bars of ${symbol}, ${timeframe}`}
          columns={columns(side)}
          rows={rows}
          rowKey={(bar) => bar.t}
          loading={loading}
          narrow="scroll"
          minWidth="800px"
          empty={error ? null : <Empty title="No bars stored">{from || to ? "None between these dates." : one.is_active ? "They appear as they close. Older ones come by a backfill." : "Activate the connection, or backfill a period."}</Empty>}
        />
        <More more={more} loading={loading} loadMore={loadMore} shown={rows.length} />
      </Panel>
    </div>
  );
}

function columns(side: Side): Column<Bar>[] {
  const price = (index: number) => (bar: Bar) => {
    const values: Ohlc | null = bar[side];
    if (!values) return "–";
    const digits = Math.max(...values.map((value) => value.split(".")[1]?.length ?? 0));
    return padded(values[index]!, digits);
  };
  return [
    { title: "Opens at", heading: true, width: "180px", cell: (bar) => <When at={bar.t} /> },
    { title: "Open", numeric: true, cell: price(0) },
    { title: "High", numeric: true, cell: price(1) },
    { title: "Low", numeric: true, cell: price(2) },
    { title: "Close", numeric: true, cell: price(3) },
    { title: "Ticks", numeric: true, width: "82px", cell: (bar) => count(bar.ticks) },
    { title: "State", width: "126px", cell: (bar) => <><Badge state={bar.state} tone={bar.state === "open" ? "info" : "mute"} />{bar.revision ? <span class="sub">revision {bar.revision}</span> : null}</> },
  ];
}
