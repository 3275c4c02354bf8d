// How a connection is, what it brings, and what the venue tells of the account.

import { fixed, money } from "../../decimal.ts";
import { count, ms, rate, words } from "../../format.ts";
import { causeOf } from "../../live/states.ts";
import { span } from "../../time.ts";
import type { Account, Adapter, Connection, Position, Schemas } from "../../types.ts";
import { useLoad } from "../../use.ts";
import { LoadError, Notice } from "../notice.tsx";
import { Facts, Figure, Figures, Panel } from "../panel.tsx";
import { Table } from "../table.tsx";
import type { Column } from "../table.tsx";
import { Ago, When } from "../time.tsx";

export function Overview({ one, adapter, path }: { one: Connection; adapter: Adapter | undefined; path: string }) {
  const live = one.live;
  const cause = causeOf(live?.cause);
  const trouble = one.last_error ?? (cause && (cause[1] || cause[0]));
  return (
    <div class="stack">
      {trouble && one.status !== "active" && one.status !== "inactive" ? (
        <Notice kind={one.status === "error" ? "bad" : "warn"} action={<a href="/docs/errors">What to do</a>}>{trouble}</Notice>
      ) : null}
      <Figures>
        <Figure label="State" value={live ? words(live.state) : one.is_active ? "Starting" : "Off"} detail={live ? `${live.connections.live} of ${live.connections.total} up` : "not running"} />
        <Figure label="Ticks" value={live ? rate(live.ticks_per_second) : "–"} detail="per second" />
        <Figure label="Latency" value={ms(live?.latency_ms)} detail="venue to engine" />
        <Figure label="Last tick" value={live?.last_tick_age_ms === null || !live ? "–" : span(live.last_tick_age_ms)} detail="ago" />
        <Figure label="Symbols" value={`${live ? count(live.active_symbols) : 0} / ${Object.keys(one.symbols).length}`} detail="with prices" />
        <Figure label="Reconnects" value={count(live?.reconnects)} detail={live ? `${count(live.dropped)} dropped, ${count(live.decode_errors)} unreadable` : "–"} tone={live && live.dropped + live.decode_errors > 0 ? "warn" : undefined} />
      </Figures>
      <div class="columns">
        <Panel title="Symbols" flush>
          <Table caption="Symbols" columns={SYMBOLS} rows={Object.entries(one.symbols)} rowKey={([name]) => name} empty={<p class="empty quiet">No symbols are chosen.</p>} />
        </Panel>
        <div class="stack">
          <Panel title="Settings">
            <Facts facts={[
              ["Type", adapter?.title ?? one.adapter],
              ["Timeframes", one.timeframes.join(", ") || "none"],
              ["Ticks", one.stores_ticks ? "stored" : "not stored"],
              ["Data kept", one.retention_days ? `${one.retention_days} days` : "as the engine's settings say"],
              ["Last connected", <Ago at={one.last_connected_at} />],
              ["Created", <When at={one.created_at} />],
              ["Changed", <When at={one.changed_at} />],
              ...Object.entries(one.config).map(([key, value]): [string, string] => [fieldTitle(adapter, key), typeof value === "string" ? value : JSON.stringify(value)]),
              ...one.secrets.map((key): [string, string] => [fieldTitle(adapter, key), "stored, sealed"]),
            ]} />
          </Panel>
          {adapter?.has_account && one.is_active ? <AccountPanel path={path} /> : null}
        </div>
      </div>
    </div>
  );
}

const fieldTitle = (adapter: Adapter | undefined, key: string): string => adapter?.fields.find((field) => field.key === key)?.title ?? words(key);

const SYMBOLS: Column<[string, string]>[] = [
  { title: "Symbol", heading: true, cell: ([name]) => <a href={`/symbols/${encodeURIComponent(name)}`}>{name}</a> },
  { title: "At the venue", cell: ([, venue]) => <span class="mono">{venue}</span> },
];

const POSITIONS: Column<Position>[] = [
  { title: "Symbol", heading: true, width: "44%", cell: (row) => <>{row.symbol}<span class="sub">{words(row.side)}</span></> },
  { title: "Size", numeric: true, cell: (row) => row.size },
  { title: "Profit", numeric: true, cell: (row) => <span class={row.profit?.startsWith("-") ? "down" : "up"}>{row.profit === null ? "–" : fixed(row.profit, 2)}</span> },
];

function AccountPanel({ path }: { path: string }) {
  const account = useLoad<Account>(`${path}/account`, {}, 15_000);
  const positions = useLoad<Schemas["Positions"]>(`${path}/positions`, {}, 15_000);
  if (account.error?.code === "not_offered") return null;
  const data = account.data;
  return (
    <Panel title="Account at the venue">
      <div class="stack">
        <LoadError error={account.error} stale={!!data} retry={account.reload} />
        {data ? (
          <Facts facts={[
            ["Account", data.id ?? "–"],
            ["Balance", `${money(data.balance)} ${data.currency ?? ""}`],
            ["Equity", `${money(data.equity)} ${data.currency ?? ""}`],
            ["Margin used", money(data.margin_used)],
            ["Margin available", money(data.margin_available)],
          ]} />
        ) : account.error ? null : <p class="quiet">Asking the venue</p>}
        {positions.data?.positions.length ? <Table caption="Open positions" columns={POSITIONS} rows={positions.data.positions} rowKey={(row) => row.id ?? `${row.symbol} ${row.opened_at} ${row.open_price}`} /> : null}
      </div>
    </Panel>
  );
}
