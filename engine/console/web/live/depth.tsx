// What each source says of a symbol, side by side, and the best of it.

import { compare, padded, pipParts } from "../decimal.ts";
import { Badge } from "../parts/badge.tsx";
import { Table, type Column } from "../parts/table.tsx";
import { span } from "../time.ts";
import type { DepthRow, Instrument } from "../types.ts";
import { useNow } from "../use.ts";
import { best, inPips, spreadOf, takesPart } from "./best.ts";
import { sourceState } from "./states.ts";

/** A price with the digits of its pip set apart. */
export function Price({ value, instrument }: { value: string | null; instrument: Instrument | null }) {
  if (value === null) return <>–</>;
  if (!instrument) return <>{value}</>;
  const [far, pip, fine] = pipParts(value, instrument.digits, instrument.pip);
  return <span class="price"><span class="p-far">{far}</span><span class="p-pip">{pip}</span><span class="p-fine">{fine}</span></span>;
}

/** The best bid and ask, large. */
export function Best({ rows, instrument }: { rows: DepthRow[]; instrument: Instrument | null }) {
  const { bid, ask } = best(rows);
  const spread = spreadOf(bid, ask);
  return (
    <dl class="best-price">
      <div><dt>Bid</dt><dd><Price value={bid} instrument={instrument} /></dd></div>
      <div><dt>Ask</dt><dd><Price value={ask} instrument={instrument} /></dd></div>
      <div><dt>Spread</dt><dd>{instrument ? (inPips(spread, instrument.pip) ?? "–") : "–"}<small> pips</small></dd></div>
    </dl>
  );
}

export function Depth({ rows, sources, instrument }: { rows: DepthRow[]; sources: readonly string[]; instrument: Instrument | null }) {
  const now = useNow(500);
  const { bidSource, askSource, bid, ask } = best(rows);
  const silent = sources.filter((source) => !rows.some((row) => row.source === source));
  const all = [
    ...rows.filter((row) => row.source !== "best"),
    ...silent.map((source): DepthRow => ({ source, bid: null, ask: null, bid_size: null, ask_size: null, at: "", state: "" })),
  ].sort((a, b) => a.source.localeCompare(b.source));
  const isBest = (row: DepthRow, side: "bid" | "ask"): boolean => {
    const top = side === "bid" ? bid : ask;
    return takesPart(row) && top !== null && row[side] !== null && compare(row[side], top) === 0;
  };
  const cell = (row: DepthRow, side: "bid" | "ask") => (
    <span class={isBest(row, side) ? "is-best" : undefined}>
      {isBest(row, side) ? <span class="best-mark">best</span> : null}
      <Price value={row[side]} instrument={instrument} />
    </span>
  );
  const columns: Column<DepthRow>[] = [
    { title: "Source", heading: true, width: "17%", cell: (row) => row.source },
    { title: "Bid size", numeric: true, wideOnly: true, width: "12%", cell: (row) => row.bid_size ?? "–" },
    { title: "Bid", numeric: true, width: "16%", cell: (row) => cell(row, "bid") },
    { title: "Ask", numeric: true, width: "16%", cell: (row) => cell(row, "ask") },
    { title: "Ask size", numeric: true, wideOnly: true, width: "12%", cell: (row) => row.ask_size ?? "–" },
    { title: "Spread", numeric: true, wideOnly: true, width: "9%", cell: (row) => (instrument ? (inPips(spreadOf(row.bid, row.ask), instrument.pip) ?? "–") : "–") },
    { title: "Age", numeric: true, width: "10%", cell: (row) => (row.at === "" ? "–" : age(now - Date.parse(row.at))) },
    { title: "State", width: "128px", cell: (row) => state(row) },
  ];
  return (
    <Table
      caption={`Sources side by side; the best bid is of ${bidSource ?? "nobody"}, the best ask of ${askSource ?? "nobody"}`}
      columns={columns}
      rows={all}
      rowKey={(row) => row.source}
      rowClass={(row) => (row.state !== "" && !takesPart(row) ? "old" : undefined)}
      loading={rows.length === 0 && sources.length === 0}
      empty={<p class="quiet pad">No source has a price yet.</p>}
    />
  );
}

function state(row: DepthRow) {
  if (row.state === "") return <Badge state="no price yet" tone="mute" />;
  const { label, tone, help } = sourceState(row.state);
  return <Badge state={row.state} label={label} tone={tone} title={help} />;
}

function age(ms: number): string {
  return ms < 1000 ? "now" : span(Math.floor(ms / 1000) * 1000).replace(/\.0 s$/, " s");
}

/** With the digits that its instrument has, or more. */
export const shownPrice = (value: string, instrument: Instrument | null): string => (instrument ? padded(value, instrument.digits) : value);
