// All connections that the viewer sees, with how they are now.

import { useState } from "preact/hooks";
import { part } from "../api.ts";
import { count, ms, plural, rate } from "../format.ts";
import { causeOf } from "../live/states.ts";
import { Badge } from "../parts/badge.tsx";
import { Empty } from "../parts/empty.tsx";
import { Field, Select } from "../parts/field.tsx";
import { Icon } from "../parts/icon.tsx";
import { LoadError } from "../parts/notice.tsx";
import { Head, Panel } from "../parts/panel.tsx";
import { Table } from "../parts/table.tsx";
import type { Column } from "../parts/table.tsx";
import { Ago } from "../parts/time.tsx";
import { span } from "../time.ts";
import type { Connection, ConnectionStatus, Schemas } from "../types.ts";
import { useLoad } from "../use.ts";
import { mayWrite } from "../viewer.ts";

type Wanted = "" | ConnectionStatus;

export default function Connections() {
  const { data, error, loading, reload } = useLoad<Schemas["ConnectionList"]>("/api/data-connections", {}, 2000);
  const [search, setSearch] = useState("");
  const [status, setStatus] = useState<Wanted>("");
  const all = data?.connections ?? [];
  const text = search.trim().toLowerCase();
  const rows = all.filter((one) => (!status || one.status === status) && (!text || [one.name, one.adapter, one.provider ?? "", ...Object.keys(one.symbols)].some((word) => word.toLowerCase().includes(text))));
  const add = mayWrite() ? <a class="button primary" href="/connections/new"><Icon name="plus" />Add a connection</a> : null;
  return (
    <div class="stack">
      <Head title="Connections" about="Where prices come from: one connection for each account at a broker or exchange.">{add}</Head>
      <LoadError error={error} stale={!!data} retry={reload} />
      <Panel flush>
        {all.length ? (
          <div class="filters">
            <Field label="Search">{(props) => <input {...props} type="search" placeholder="Name, type or symbol" value={search} onInput={(e) => setSearch(e.currentTarget.value)} />}</Field>
            <Select<Wanted> label="Status" value={status} onChange={setStatus} options={[["", `All (${all.length})`], ...STATUSES.map((one): [Wanted, string] => [one, `${one[0]!.toUpperCase()}${one.slice(1)} (${all.filter((c) => c.status === one).length})`])]} />
          </div>
        ) : null}
        <Table
          caption="Connections"
          columns={COLUMNS}
          rows={rows}
          rowKey={(one) => one.name}
          loading={loading}
          minWidth="860px"
          empty={all.length ? <Empty title="None fits">Nothing matches the search and the status together.</Empty> : <Empty title="No connections yet" action={add}>{mayWrite() ? "Add your broker or exchange: choose its type, give its credentials, pick the symbols, test it, and switch it on." : "None has been shared with your account. Ask an administrator."}</Empty>}
        />
      </Panel>
    </div>
  );
}

const STATUSES: ConnectionStatus[] = ["active", "inactive", "error", "testing", "stale"];

const COLUMNS: Column<Connection>[] = [
  {
    title: "Name", heading: true,
    cell: (one) => (
      <>
        <a href={`/connections/${part(one.name)}`}>{one.name}</a>{" "}
        {one.origin === "configuration" ? <span class="tag" title="From the configuration file: read-only here">file</span> : one.owner ? <span class="tag" title={`Private to ${one.owner}`}>private</span> : null}
        <span class="sub">{one.provider ? `${one.adapter}, ${one.provider}` : one.adapter}</span>
      </>
    ),
  },
  { title: "Status", width: "112px", cell: (one) => <Badge state={one.status} /> },
  { title: "Health", width: "26%", cell: (one) => <Health one={one} /> },
  { title: "Ticks/s", numeric: true, width: "84px", cell: (one) => (one.live ? rate(one.live.ticks_per_second) : "–") },
  { title: "Latency", numeric: true, width: "88px", cell: (one) => ms(one.live?.latency_ms) },
  { title: "Last seen", numeric: true, width: "112px", cell: (one) => <LastSeen one={one} /> },
  { title: "Symbols", numeric: true, width: "84px", cell: (one) => count(Object.keys(one.symbols).length) },
];

/** What is wrong in words, else what it does. */
function Health({ one }: { one: Connection }) {
  if (one.status === "error" || one.status === "stale") return <span class={one.status === "error" ? "bad-text" : "warn-text"}>{one.last_error ?? causeOf(one.live?.cause)?.[0] ?? "No prices come"}</span>;
  if (!one.live) return <span class="quiet">{one.is_active ? "starting" : "switched off"}</span>;
  const troubles = [one.live.dropped ? `${count(one.live.dropped)} dropped` : "", one.live.decode_errors ? `${count(one.live.decode_errors)} unreadable` : "", one.live.reconnects ? plural(one.live.reconnects, "reconnect") : ""].filter(Boolean);
  return <>{one.live.connections.live} of {one.live.connections.total} up{troubles.length ? <span class="quiet">, {troubles.join(", ")}</span> : null}</>;
}

function LastSeen({ one }: { one: Connection }) {
  const age = one.live?.last_tick_age_ms;
  if (age !== null && age !== undefined) return <>{span(age)}</>;
  return one.last_connected_at ? <Ago at={one.last_connected_at} /> : <>never</>;
}
