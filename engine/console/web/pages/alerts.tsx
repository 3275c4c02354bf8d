// What has been wrong, and whether it still is.

import { useState } from "preact/hooks";
import { words } from "../format.ts";
import { AlertBadge } from "../parts/alerts.tsx";
import { Empty } from "../parts/empty.tsx";
import { Segments } from "../parts/field.tsx";
import { LoadError } from "../parts/notice.tsx";
import { Head, Panel } from "../parts/panel.tsx";
import { More, Table } from "../parts/table.tsx";
import type { Column } from "../parts/table.tsx";
import { Ago, When } from "../parts/time.tsx";
import type { Alert, Schemas } from "../types.ts";
import { useLoad, usePages } from "../use.ts";
import { may } from "../viewer.ts";

type State = "" | "raised" | "cleared";

export default function Alerts() {
  const [state, setState] = useState<State>("");
  const newest = useLoad<Schemas["AlertPage"]>("/api/alerts", { state, limit: 50 }, 3000);
  const [older, setOlder] = useState(false);
  const all = usePages<Alert>(older ? "/api/alerts" : null, "alerts", { state, limit: 200 });
  const fresh = newest.data?.alerts ?? [];
  const known = new Set(fresh.map((alert) => alert.id));
  const rows = older ? [...fresh, ...all.rows.filter((alert) => !known.has(alert.id))] : fresh;
  return (
    <div class="stack">
      <Head title="Alerts" about="Raised once when something has been wrong for too long, cleared when it is over.">
        {may("manage-settings") ? <a class="button" href="/settings">Rules and webhooks</a> : null}
      </Head>
      <Panel flush title="History" aside={<Segments<State> label="Which alerts" value={state} onChange={setState} options={[["", "All"], ["raised", "Raised"], ["cleared", "Cleared"]]} />}>
        <LoadError error={newest.error ?? all.error} stale={rows.length > 0} retry={newest.reload} />
        <Table
          caption="Alerts, newest first"
          columns={COLUMNS}
          rows={rows}
          rowKey={(alert) => alert.id}
          loading={newest.loading}
          minWidth="820px"
          empty={newest.error ? null : <Empty title={state === "raised" ? "Nothing is wrong" : "No alerts"}>{state === "raised" ? "No alert is raised at the moment." : "None has been raised so far."}</Empty>}
        />
        <More more={older ? all.more : (newest.data?.next ?? null) !== null} loading={older && all.loading} loadMore={older ? all.loadMore : () => setOlder(true)} shown={rows.length} />
      </Panel>
    </div>
  );
}

const COLUMNS: Column<Alert>[] = [
  { title: "State", width: "120px", cell: (alert) => <AlertBadge alert={alert} /> },
  { title: "Message", heading: true, cell: (alert) => <span class="plain">{alert.message}{alert.cleared_message ? <span class="sub">{alert.cleared_message}</span> : null}</span> },
  { title: "Rule", width: "176px", cell: (alert) => <>{words(alert.rule)}<span class="sub">{alert.subject}</span></> },
  { title: "Raised", width: "196px", cell: (alert) => <When at={alert.raised_at} /> },
  { title: "Cleared", width: "112px", cell: (alert) => (alert.cleared_at ? <Ago at={alert.cleared_at} /> : <span class="quiet">not yet</span>) },
];
