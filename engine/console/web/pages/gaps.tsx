// Gaps: every hole in a source's data, why it opened, and what became of it.

import { useState } from "preact/hooks";
import { api, part } from "../api.ts";
import { count, words } from "../format.ts";
import { allCauses, cause, gapState } from "../live/states.ts";
import { say } from "../notices.ts";
import { Badge } from "../parts/badge.tsx";
import { Empty } from "../parts/empty.tsx";
import { Select } from "../parts/field.tsx";
import { LoadError, Notice } from "../parts/notice.tsx";
import { Head, Panel } from "../parts/panel.tsx";
import { More, Table, type Column } from "../parts/table.tsx";
import { When } from "../parts/time.tsx";
import { zone } from "../prefs.ts";
import { place, setQuery } from "../router.ts";
import { date, span } from "../time.ts";
import type { Gap, Schemas } from "../types.ts";
import { useAction, useLoad, useNow, usePages } from "../use.ts";
import { mayWrite } from "../viewer.ts";

/** Whether it ended on the day on which it began, by the viewer's clock. */
const sameDay = (gap: Gap): boolean => gap.from !== null && date(gap.from, zone.value) === date(gap.to, zone.value);

const STATES = ["open", "closed", "repaired", "lost"] as const;

export default function Gaps() {
  const { query } = place.value;
  const [state, source, symbol] = [query.get("state") ?? "", query.get("source") ?? "", query.get("symbol") ?? ""];
  const pages = usePages<Gap>("/api/gaps", "gaps", { state, source, symbol, limit: 100 });
  const instruments = useLoad<Schemas["Instruments"]>("/api/instruments");
  const list = instruments.data?.instruments ?? [];
  const now = useNow();
  const isFiltered = state !== "" || source !== "" || symbol !== "";
  const options = (names: Iterable<string>, all: string): (readonly [string, string])[] => [["", all], ...[...new Set(names)].sort().map((name) => [name, name] as const)];
  const columns: Column<Gap>[] = [
    { title: "Source", heading: true, width: "15%", cell: (gap) => <>{gap.source || "All sources"}<span class="sub">{gap.symbol ? <a href={`/symbols/${part(gap.symbol)}?source=${part(gap.source)}`}>{gap.symbol}</a> : "all symbols"}</span></> },
    { title: "When", width: "176px", cell: (gap) => <><When at={gap.from} /><span class="sub">{gap.to === null ? <span class="bad-text">still open</span> : <>to <When at={gap.to} only={sameDay(gap) ? "clock" : undefined} /></>}</span></> },
    { title: "Length", numeric: true, width: "112px", cell: (gap) => (gap.from === null ? "–" : span((gap.to === null ? now : Date.parse(gap.to)) - Date.parse(gap.from))) },
    { title: "Cause", long: true, cell: (gap) => <>{cause(gap.cause)[0]}<span class="sub">{cause(gap.cause)[1]}</span></> },
    { title: "Missed", numeric: true, width: "80px", cell: (gap) => (gap.lost === null || gap.lost === 0 ? "–" : count(gap.lost)) },
    { title: "State", width: "154px", cell: (gap) => <Badge state={gap.state} label={gapState(gap.state).label} tone={gapState(gap.state).tone} title={gapState(gap.state).help} /> },
    { title: "", width: "98px", numeric: true, cell: (gap) => <Repair gap={gap} done={pages.reload} /> },
  ];
  return (
    <div class="stack">
      <Head title="Gaps" about="When a source's data stopped and came back. What a venue still knows of the time between is fetched by itself; where that failed it can be tried again.">
        <button type="button" onClick={pages.reload}>Refresh</button>
      </Head>
      <Panel flush>
        <div class="filters">
          <Select label="State" value={state} options={[["", "All states"], ...STATES.map((word) => [word, gapState(word).label] as const)]} onChange={(chosen) => setQuery({ state: chosen })} />
          <Select label="Source" value={source} options={options([...list.flatMap((one) => one.sources), source].filter(Boolean), "All sources")} onChange={(chosen) => setQuery({ source: chosen })} />
          <Select label="Symbol" value={symbol} options={options([...list.map((one) => one.symbol), symbol].filter(Boolean), "All symbols")} onChange={(chosen) => setQuery({ symbol: chosen })} />
          {isFiltered ? <button type="button" class="link" onClick={() => setQuery({ state: null, source: null, symbol: null })}>Clear the filters</button> : null}
        </div>
        <LoadError error={pages.error} stale={pages.rows.length > 0} retry={pages.reload} />
        <Table
          caption="Gaps, newest first"
          columns={columns}
          rows={pages.rows}
          rowKey={(gap) => `${gap.epoch}/${gap.id}`}
          loading={pages.loading}
          minWidth="940px"
          empty={pages.error ? <></> : isFiltered ? <Empty title="No gap fits the filters" /> : <Empty title="No gaps">No source has lost data since this engine began to keep its ledger.</Empty>}
        />
        <More more={pages.more} loading={pages.loading} loadMore={pages.loadMore} shown={pages.rows.length} />
      </Panel>
      <Panel>
        <details class="explained">
          <summary><span class="explained-title">What the states and causes mean</span></summary>
          <dl class="part-words">
            {STATES.map((word) => <div key={word}><dt><Badge state={word} label={gapState(word).label} tone={gapState(word).tone} /></dt><dd class="quiet">{gapState(word).help}</dd></div>)}
            {allCauses().map(([word, short, long]) => <div key={word}><dt>{short}</dt><dd class="quiet">{long}</dd></div>)}
          </dl>
        </details>
      </Panel>
    </div>
  );
}

/** Asks for a repair; says what came of it, beside the button where it failed. */
function Repair({ gap, done }: { gap: Gap; done: () => void }) {
  const [isAsked, setAsked] = useState(false);
  const repair = useAction(async () => {
    await api.post(`/api/gaps/${gap.epoch}/${gap.id}/repair`);
    setAsked(true);
    say(`Repair of ${gap.source}${gap.symbol ? ` ${gap.symbol}` : ""} was asked for. The jobs page follows it.`);
    setTimeout(done, 3000);
  });
  if (!mayWrite() || !gap.repairable || gap.state === "repaired") return null;
  if (isAsked) return <a href="/jobs?kind=repair">{words("asked_for")}</a>;
  return (
    <>
      <button type="button" class="small" disabled={repair.busy} aria-label={`Repair the gap of ${gap.source} ${gap.symbol ?? ""}`} onClick={() => void repair.run()}>{repair.busy ? "Asking" : "Repair"}</button>
      {repair.error ? <Notice kind="bad">{repair.error.message}</Notice> : null}
    </>
  );
}
