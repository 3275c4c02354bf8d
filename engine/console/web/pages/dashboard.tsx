// What is up, what is wrong, how fast, and the newest alerts.

import { AlertList } from "../parts/alerts.tsx";
import { Badge } from "../parts/badge.tsx";
import { Empty } from "../parts/empty.tsx";
import { Icon } from "../parts/icon.tsx";
import { LoadError } from "../parts/notice.tsx";
import { Figure, Figures, Head, Panel } from "../parts/panel.tsx";
import { Table } from "../parts/table.tsx";
import type { Column } from "../parts/table.tsx";
import { UNNAMED, count, ms, plural, rate } from "../format.ts";
import { causeOf } from "../live/states.ts";
import { span } from "../time.ts";
import type { ConnectionHealth, Schemas, Status } from "../types.ts";
import { useLoad } from "../use.ts";
import { may, mayWrite, user } from "../viewer.ts";

export default function Dashboard() {
  const status = useLoad<Status>("/api/status", {}, 2000);
  const health = useLoad<Schemas["ConnectionsHealth"]>("/api/data-connections/health", {}, 2000);
  const data = status.data;
  return (
    <div class="stack">
      <Head title="Dashboard" about={data ? `Engine ${data.version}, up for ${span(data.uptime_seconds * 1000)}.` : "Asking the engine."} />
      <LoadError error={status.error} stale={!!data} retry={status.reload} />
      {data ? <Problems problems={data.problems} status={data.status} /> : null}
      {data ? <Rates status={data} /> : null}
      <div class="columns">
        <Panel title="Connections" flush aside={<a href="/connections">All connections</a>}>
          <LoadError error={health.error} stale={!!health.data} retry={health.reload} />
          <Table
            caption="Connections and how they are"
            columns={COLUMNS}
            rows={worstFirst(health.data?.connections ?? [])}
            rowKey={(row) => row.name}
            loading={health.loading}
            empty={<NoConnections />}
          />
        </Panel>
        <Panel title="Newest alerts" aside={<a href="/alerts">All alerts</a>}>
          {data?.alerts.length ? <AlertList alerts={data.alerts} /> : <p class="quiet">{data ? "No alert has been raised." : "Loading"}</p>}
        </Panel>
      </div>
    </div>
  );
}

const COLUMNS: Column<ConnectionHealth>[] = [
  { title: "Name", heading: true, cell: (row) => <a href={`/connections/${encodeURIComponent(row.name)}`}>{row.name}</a> },
  { title: "Status", width: "112px", cell: (row) => <Badge state={row.status} title={row.last_error ?? causeOf(row.cause)?.[0]} /> },
  { title: "Ticks/s", numeric: true, width: "92px", cell: (row) => rate(row.ticks_per_second) },
  { title: "Latency", numeric: true, width: "96px", cell: (row) => ms(row.latency_ms) },
  { title: "Last tick", numeric: true, width: "108px", cell: (row) => (row.last_tick_age_ms === null ? "–" : span(row.last_tick_age_ms)) },
];

const ORDER = ["error", "stale", "testing", "active", "inactive"];
const worstFirst = (rows: ConnectionHealth[]): ConnectionHealth[] =>
  [...rows].sort((a, b) => ORDER.indexOf(a.status) - ORDER.indexOf(b.status) || a.name.localeCompare(b.name));

function NoConnections() {
  return (
    <Empty
      title="No connections yet"
      action={mayWrite() ? <a class="button primary" href="/connections/new"><Icon name="plus" />Add a connection</a> : null}
    >
      A connection brings prices from a broker or an exchange. {mayWrite() ? "Add the first one to see it here." : "Ask an administrator for one."}
    </Empty>
  );
}

function Problems({ problems, status }: { problems: string[]; status: Status["status"] }) {
  if (status === "ok" && problems.length === 0) return null;
  const named = problems.length ? problems : [UNNAMED[status]];
  return (
    <section class={`notice ${status === "unavailable" ? "bad" : "warn"}`} aria-label="Problems">
      <Icon name="warning" />
      <div class="grow">
        <strong>{status !== "unavailable" ? plural(named.length, "problem") : problems.length ? "The engine does not serve" : "There are no prices now"}</strong>
        <ul>{named.map((problem) => <li key={problem}>{problem}</li>)}</ul>
      </div>
    </section>
  );
}

function Rates({ status }: { status: Status }) {
  const { connections, storage, gaps, latency_ms } = status;
  const bad = connections.error + connections.stale;
  return (
    <Figures>
      <Figure label="Connections active" value={<>{connections.active}<span class="quiet"> / {connections.total}</span></>} detail={bad ? `${bad} in error or stale` : `${connections.inactive} inactive`} tone={connections.error ? "bad" : bad ? "warn" : undefined} />
      <Figure label="Ticks in" value={rate(status.rates.ticks_per_second)} detail="per second" />
      <Figure label="Published" value={rate(status.rates.published_per_second)} detail="per second" />
      <Figure label="To terminals, p50" value={status.terminals ? ms(latency_ms.p50) : "–"} detail={status.terminals ? `p99 ${ms(latency_ms.p99)}` : "none connected"} />
      <Figure label="Terminals" value={count(status.terminals)} detail={may("view-system") ? "connected" : `seen by ${user()?.name ?? "you"}`} />
      <Figure label="Storage behind" value={plural(storage.lag_rows, "row")} detail={storage.last_error ?? `${span(storage.lag_seconds * 1000)}, ${storage.mode}`} tone={storage.last_error ? "bad" : storage.lag_seconds > 60 ? "warn" : undefined} />
      <Figure label="Gaps open" value={count(gaps.open)} detail={`${count(gaps.lost)} lost for good`} tone={gaps.open ? "warn" : undefined} />
    </Figures>
  );
}
