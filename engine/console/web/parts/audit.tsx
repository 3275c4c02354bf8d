// Who signed in, failed to, and changed what.

import { useState } from "preact/hooks";
import { words } from "../format.ts";
import type { AuditEntry } from "../types.ts";
import { usePages } from "../use.ts";
import { Badge } from "./badge.tsx";
import { Empty } from "./empty.tsx";
import { Select } from "./field.tsx";
import { LoadError } from "./notice.tsx";
import { Panel } from "./panel.tsx";
import { More, Table } from "./table.tsx";
import type { Column } from "./table.tsx";
import { When } from "./time.tsx";

export function AuditLog({ users }: { users: string[] }) {
  const [actor, setActor] = useState("");
  const [succeeded, setSucceeded] = useState("");
  const { rows, error, loading, more, loadMore, reload } = usePages<AuditEntry>("/api/audit", "entries", { actor, succeeded, limit: 50 });
  return (
    <Panel flush>
      <div class="filters">
        <Select label="By" value={actor} onChange={setActor} options={[["", "All"], ...users.map((name): [string, string] => [name, name])]} />
        <Select label="Outcome" value={succeeded} onChange={setSucceeded} options={[["", "All"], ["true", "Succeeded"], ["false", "Failed"]]} />
        <button type="button" disabled={loading} onClick={reload}>Refresh</button>
      </div>
      <LoadError error={error} stale={rows.length > 0} retry={reload} />
      <Table caption="Audit log" columns={COLUMNS} rows={rows} rowKey={(entry) => entry.id} loading={loading} minWidth="900px" empty={error ? null : <Empty title="Nothing logged">Nothing matches the filters.</Empty>} />
      <More more={more} loading={loading} loadMore={loadMore} shown={rows.length} />
    </Panel>
  );
}

const COLUMNS: Column<AuditEntry>[] = [
  { title: "Time", heading: true, width: "200px", cell: (entry) => <When at={entry.at} /> },
  { title: "By", width: "130px", cell: (entry) => entry.actor ?? <span class="quiet">nobody</span> },
  { title: "Action", width: "150px", cell: (entry) => <>{words(entry.action)}{entry.subject ? <span class="sub">{entry.subject}</span> : null}</> },
  { title: "Outcome", width: "124px", cell: (entry) => <Badge state={entry.succeeded ? "succeeded" : "failed"} /> },
  { title: "Message", long: true, cell: (entry) => entry.message },
  { title: "Address", width: "130px", cell: (entry) => <span class="quiet">{entry.address ?? "–"}</span> },
];
