// What happened to a connection, newest first.

import { useState } from "preact/hooks";
import { count, words } from "../../format.ts";
import type { LogEntry } from "../../types.ts";
import { usePages } from "../../use.ts";
import { Badge } from "../badge.tsx";
import { Empty } from "../empty.tsx";
import { Select } from "../field.tsx";
import { LoadError } from "../notice.tsx";
import { Panel } from "../panel.tsx";
import { More, Table } from "../table.tsx";
import type { Column } from "../table.tsx";
import { When } from "../time.tsx";

const ACTIONS = ["create", "edit", "activate", "deactivate", "connect", "disconnect", "fetch_data", "test", "error", "backfill", "repair", "refresh_symbols", "refresh_account"];

export function ConnectionLogs({ path }: { path: string }) {
  const [action, setAction] = useState("");
  const [succeeded, setSucceeded] = useState("");
  const { rows, error, loading, more, loadMore, reload } = usePages<LogEntry>(`${path}/logs`, "entries", { action, succeeded, limit: 50 });
  return (
    <Panel flush>
      <div class="filters">
        <Select label="Action" value={action} onChange={setAction} options={[["", "All"], ...ACTIONS.map((one): [string, string] => [one, words(one)])]} />
        <Select label="Outcome" value={succeeded} onChange={setSucceeded} options={[["", "All"], ["true", "Succeeded"], ["false", "Failed"]]} />
        <button type="button" disabled={loading} onClick={reload}>Refresh</button>
      </div>
      <LoadError error={error} stale={rows.length > 0} retry={reload} />
      <Table
        caption="Log of the connection"
        columns={COLUMNS}
        rows={rows}
        rowKey={(entry) => entry.id}
        loading={loading}
        empty={error ? null : <Empty title="Nothing logged">{action || succeeded ? "Nothing matches the filters." : "Activate or test the connection; what happens is written down here."}</Empty>}
      />
      <More more={more} loading={loading} loadMore={loadMore} shown={rows.length} />
    </Panel>
  );
}

const COLUMNS: Column<LogEntry>[] = [
  { title: "Time", heading: true, width: "200px", cell: (entry) => <When at={entry.at} /> },
  { title: "Action", width: "138px", cell: (entry) => words(entry.action) },
  { title: "Outcome", width: "124px", cell: (entry) => <Badge state={entry.succeeded ? "succeeded" : "failed"} /> },
  { title: "Message", long: true, cell: (entry) => entry.message },
  { title: "Details", long: true, width: "190px", cell: (entry) => <span class="quiet">{details(entry.metadata)}</span> },
];

/** `rows 60, latency_ms 12` in words. */
function details(metadata: Record<string, unknown>): string {
  return Object.entries(metadata)
    .filter(([, value]) => value !== null && value !== "")
    .map(([key, value]) => {
      if (key === "latency_ms") return `${value} ms`;
      if (key === "rows") return `${count(Number(value))} rows`;
      return `${words(key).toLowerCase()} ${typeof value === "object" ? JSON.stringify(value) : value}`;
    })
    .join(", ");
}
