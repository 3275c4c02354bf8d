// What is stored, how much room it takes, how far the database is behind, and what is deleted when.

import { bytes, count, plural } from "../format.ts";
import { Empty } from "../parts/empty.tsx";
import { LoadError, Notice } from "../parts/notice.tsx";
import { Facts, Figure, Figures, Head, Meter, Panel } from "../parts/panel.tsx";
import { Table } from "../parts/table.tsx";
import type { Column } from "../parts/table.tsx";
import { Ago, When } from "../parts/time.tsx";
import { span } from "../time.ts";
import type { Storage, TableStatistics } from "../types.ts";
import { useLoad } from "../use.ts";

export default function StoragePage() {
  const { data, error, loading, reload } = useLoad<Storage>("/api/storage", {}, 5000);
  return (
    <div class="stack">
      <Head title="Storage" about="Ticks go to the journal first and from there to the database; being behind loses nothing." />
      <LoadError error={error} stale={!!data} retry={reload} />
      {data?.last_error ? <Notice kind="bad">The database did not take the last batch: {data.last_error}. The journal keeps it until it does.</Notice> : null}
      {data ? <Rooms data={data} /> : null}
      <Panel title="Tables" flush>
        <Table caption="Tables" columns={TABLES} rows={data?.tables ?? []} rowKey={(row) => row.table} loading={loading} minWidth="720px" empty={error ? null : <Empty title="Nothing is stored yet">Activate a connection that stores bars or ticks.</Empty>} />
      </Panel>
      {data ? <Retention data={data} /> : null}
    </div>
  );
}

function Rooms({ data }: { data: Storage }) {
  const used = data.disk.total_bytes - data.disk.free_bytes;
  const free = data.disk.total_bytes ? data.disk.free_bytes / data.disk.total_bytes : 1;
  const tone = free < 0.05 ? "bad" : free < 0.15 ? "warn" : undefined;
  return (
    <Figures>
      <Figure label="Behind the journal" value={plural(data.lag_rows, "row")} detail={span(data.lag_seconds * 1000)} tone={data.lag_seconds > 60 ? "warn" : undefined} />
      <Figure label="Stored rows" value={count(data.tables.reduce((sum, table) => sum + table.rows, 0))} detail={bytes(data.tables.reduce((sum, table) => sum + table.bytes, 0))} />
      <Figure label="Database" value={data.mode} detail={data.last_error ? "in trouble" : "takes batches"} />
      <Figure label="Journal" value={bytes(data.journal.bytes)} detail={data.journal.oldest_at ? <>from <Ago at={data.journal.oldest_at} /></> : "empty"} />
      <Figure label="Disk free" value={bytes(data.disk.free_bytes)} tone={tone} detail={<><Meter value={used} max={data.disk.total_bytes} label="Disk in use" tone={tone} />of {bytes(data.disk.total_bytes)}</>} />
    </Figures>
  );
}

const TABLES: Column<TableStatistics>[] = [
  { title: "Table", heading: true, cell: (row) => row.table },
  { title: "Rows", numeric: true, cell: (row) => count(row.rows) },
  { title: "Bytes", numeric: true, width: "104px", cell: (row) => bytes(row.bytes) },
  { title: "Per row", numeric: true, width: "104px", cell: (row) => (row.bytes_per_row === null ? "–" : `${row.bytes_per_row.toFixed(1)} B`) },
  { title: "Oldest", numeric: true, width: "120px", cell: (row) => <When at={row.oldest} only="date" /> },
  { title: "Newest", numeric: true, width: "120px", cell: (row) => <Ago at={row.newest} /> },
];

function Retention({ data }: { data: Storage }) {
  const { retention } = data;
  return (
    <Panel title="Retention">
      <div class="stack">
        <Facts facts={[
          ["Runs daily at", retention.time === null ? "not by itself" : `${retention.time} UTC`],
          ["Without a rule", `${retention.days_default} days`],
          ["Last run", retention.last ? <Ago at={retention.last.at} /> : "not yet"],
          ["Rows deleted then", retention.last ? `${count(retention.last.rows_deleted)} in ${span(retention.last.seconds * 1000)}` : "–"],
        ]} />
        {retention.rules.length ? (
          <table class="compact">
            <caption class="hidden">Rules of retention</caption>
            <thead><tr><th scope="col">Connection</th><th scope="col">Table</th><th scope="col" class="number">Kept</th></tr></thead>
            <tbody>
              {retention.rules.map((rule) => (
                <tr key={`${rule.connection} ${rule.table}`}><td>{rule.connection ?? "all others"}</td><td>{rule.table === "*" ? "all" : rule.table}</td><td class="number">{plural(rule.days, "day")}</td></tr>
              ))}
            </tbody>
          </table>
        ) : <p class="quiet">No connection has a rule of its own. One is set when the connection is edited.</p>}
        <p class="quiet">Deletion can be started by hand on the <a href="/jobs">jobs</a> page.</p>
      </div>
    </Panel>
  );
}
