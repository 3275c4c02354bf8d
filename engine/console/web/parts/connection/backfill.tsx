// Asks for older bars, and shows the job that fetches them.

import { useEffect, useState } from "preact/hooks";
import { api } from "../../api.ts";
import { date } from "../../time.ts";
import type { Connection, Job, Schemas } from "../../types.ts";
import { useAction, useLoad } from "../../use.ts";
import { Field, Select, errorOf } from "../field.tsx";
import { JobProgress } from "../job.tsx";
import { FormError, LoadError } from "../notice.tsx";
import { Panel } from "../panel.tsx";

interface Props {
  one: Connection;
  path: string;
  symbol: string;
  timeframe: string;
  onDone: () => void;
}

export function BackfillForm({ one, path, symbol, timeframe, onDone }: Props) {
  const today = date(Date.now() / 1000, "UTC");
  const [what, setWhat] = useState({ symbol, timeframe, from: date(Date.now() / 1000 - 365 * 86400, "UTC"), to: today });
  const [job, setJob] = useState<number | null>(null);
  const start = useAction(async () => {
    const answer = await api.post<Schemas["BackfillQueued"]>(`${path}/backfill`, what satisfies Schemas["BackfillWanted"]);
    setJob(answer.job);
  });
  // What is looked at below is what one most likely wants filled.
  useEffect(() => setWhat((before) => ({ ...before, symbol, timeframe })), [symbol, timeframe]);
  const submit = (event: Event) => {
    event.preventDefault();
    if (!start.busy) void start.run();
  };
  const options = (list: string[]) => list.map((each): [string, string] => [each, each]);
  return (
    <Panel title="Backfill">
      <form class="stack" onSubmit={submit}>
        <div class="filters">
          <Select label="Symbol" value={what.symbol} onChange={(value) => setWhat({ ...what, symbol: value })} options={options(Object.keys(one.symbols))} />
          <Select label="Timeframe" value={what.timeframe} onChange={(value) => setWhat({ ...what, timeframe: value })} options={options([...new Set([what.timeframe, ...one.timeframes])])} />
          <Field label="From" error={errorOf(start.error, "from")}>{(props) => <input {...props} type="date" name="backfill-from" required max={what.to} value={what.from} onInput={(e) => setWhat({ ...what, from: e.currentTarget.value })} />}</Field>
          <Field label="To" error={errorOf(start.error, "to")}>{(props) => <input {...props} type="date" name="backfill-to" required min={what.from} max={today} value={what.to} onInput={(e) => setWhat({ ...what, to: e.currentTarget.value })} />}</Field>
          <button type="submit" class="primary" disabled={start.busy}>{start.busy ? "Asking" : "Fetch"}</button>
        </div>
        <FormError error={start.error} fields={["from", "to"]} />
        {job !== null ? <Progress key={job} id={job} onDone={onDone} /> : null}
      </form>
    </Panel>
  );
}

function Progress({ id, onDone }: { id: number; onDone: () => void }) {
  const [over, setOver] = useState(false);
  const { data, error } = useLoad<Job>(`/api/jobs/${id}`, {}, over ? null : 1000);
  const ended = data ? !["queued", "running"].includes(data.state) : false;
  useEffect(() => {
    if (!ended) return;
    setOver(true);
    onDone();
  }, [ended]);
  return (
    <div aria-live="polite" class="stack tight">
      <LoadError error={error} stale={!!data} />
      {data ? <JobProgress job={data} /> : <p class="quiet">Waiting for the job</p>}
    </div>
  );
}
