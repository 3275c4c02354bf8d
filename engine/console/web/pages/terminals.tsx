// Who is connected, what they subscribe to, and how well it reaches them.

import { bytes, count, ms } from "../format.ts";
import { Empty } from "../parts/empty.tsx";
import { LoadError } from "../parts/notice.tsx";
import { Figure, Figures, Head, Panel } from "../parts/panel.tsx";
import { Table } from "../parts/table.tsx";
import type { Column } from "../parts/table.tsx";
import { Ago } from "../parts/time.tsx";
import type { Schemas, Terminal } from "../types.ts";
import { useLoad } from "../use.ts";

export default function Terminals() {
  const { data, error, loading, reload } = useLoad<Schemas["Terminals"]>("/api/terminals", {}, 2000);
  const totals = data?.totals;
  return (
    <div class="stack">
      <Head title="Terminals" about="Programs that receive prices from this engine. A slow one skips to the newest price; it never holds up another." />
      <LoadError error={error} stale={!!data} retry={reload} />
      {totals ? (
        <Figures>
          <Figure label="Connected" value={count(totals.terminals)} />
          <Figure label="Delivered" value={count(totals.delivered)} detail="updates since the start" />
          <Figure label="Skipped" value={count(totals.skipped)} detail="overtaken by newer ones" />
        </Figures>
      ) : null}
      <Panel flush>
        <Table
          caption="Connected terminals"
          columns={COLUMNS}
          rows={data?.terminals ?? []}
          rowKey={(row) => row.id}
          loading={loading}
          minWidth="960px"
          empty={error ? null : <Empty title="No terminal is connected">Try <code>tickwire watch</code> on this machine, or see the <a href="/docs/terminals">documentation</a> for programs of your own.</Empty>}
        />
      </Panel>
    </div>
  );
}

const COLUMNS: Column<Terminal>[] = [
  { title: "Terminal", heading: true, width: "190px", cell: (row) => <>{row.user || "Of this machine"}<span class="sub">{row.user ? `${row.token}, ` : ""}{row.address}</span></> },
  { title: "Subscriptions", cell: (row) => <Subscriptions row={row} /> },
  { title: "Connected", width: "108px", numeric: true, cell: (row) => <Ago at={row.connected_at} /> },
  { title: "Delivered", width: "116px", numeric: true, cell: (row) => <>{count(row.delivered)}<span class="sub">{bytes(row.bytes)}</span></> },
  { title: "Skipped", width: "92px", numeric: true, cell: (row) => count(row.skipped) },
  { title: "Round trip", width: "98px", numeric: true, cell: (row) => ms(row.rtt_ms) },
  { title: "Latency", width: "88px", numeric: true, cell: (row) => ms(row.latency_ms) },
];

function Subscriptions({ row }: { row: Terminal }) {
  if (row.subscriptions.length === 0) return <span class="quiet">none yet</span>;
  return (
    <ul>
      {row.subscriptions.map((one, index) => (
        <li key={index}>
          {one.symbols.join(", ") || "all symbols"} <span class="tag">{one.kinds.join(", ")}</span> <span class="tag">{one.delivery}</span>
          {one.sources?.length ? <span class="quiet"> from {one.sources.join(", ")}</span> : null}
        </li>
      ))}
    </ul>
  );
}
