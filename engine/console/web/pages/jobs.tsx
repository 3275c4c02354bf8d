// What the engine does beside streaming: running, done and failed, what comes next, and starting something by hand.

import { useState } from "preact/hooks";
import { api, asError } from "../api.ts";
import { words } from "../format.ts";
import { say } from "../notices.ts";
import { zone } from "../prefs.ts";
import { dateTime } from "../time.ts";
import { Badge } from "../parts/badge.tsx";
import { Empty } from "../parts/empty.tsx";
import { Select } from "../parts/field.tsx";
import { progressWords } from "../parts/job.tsx";
import { StartJob } from "../parts/job-start.tsx";
import { LoadError } from "../parts/notice.tsx";
import { Head, Meter, Panel } from "../parts/panel.tsx";
import { More, Table } from "../parts/table.tsx";
import type { Column } from "../parts/table.tsx";
import { Tabs, currentTab } from "../parts/tabs.tsx";
import { Age, Ago, When } from "../parts/time.tsx";
import type { Job, JobKind, JobState, Schedule, Schemas } from "../types.ts";
import { useLoad, usePages } from "../use.ts";
import { may, mayWrite, user } from "../viewer.ts";

export const KINDS: JobKind[] = ["fetch_bars", "refresh_symbols", "refresh_account", "backfill", "repair", "retention"];
const STATES: JobState[] = ["queued", "running", "succeeded", "failed", "cancelled"];
const TABS = [["history", "Jobs"], ["schedule", "Schedule"]] as const;

export default function Jobs() {
  const [starting, setStarting] = useState(false);
  const tab = currentTab(TABS);
  return (
    <div>
      <Head title="Jobs" about="Fetching bars, filling holes, refreshing symbols and accounts, deleting what is old enough.">
        {mayWrite() ? <button type="button" class="primary" onClick={() => setStarting(true)}>Start a job</button> : null}
      </Head>
      <Tabs label="Jobs" tabs={TABS} />
      <div role="tabpanel" aria-labelledby={`tab-${tab}`}>{tab === "history" ? <History /> : <Schedules />}</div>
      {starting ? <StartJob onClose={() => setStarting(false)} /> : null}
    </div>
  );
}

function History() {
  const [kind, setKind] = useState<"" | JobKind>("");
  const [state, setState] = useState<"" | JobState>("");
  const [connection, setConnection] = useState("");
  const query = { kind, state, connection };
  const connections = useLoad<Schemas["ConnectionList"]>("/api/data-connections");
  // The newest page moves; what is older is fetched when asked for, and stays as it was then.
  const newest = useLoad<Schemas["JobPage"]>("/api/jobs", { ...query, limit: 50 }, 1500);
  const [older, setOlder] = useState(false);
  const all = usePages<Job>(older ? "/api/jobs" : null, "jobs", { ...query, limit: 200 });
  const fresh = newest.data?.jobs ?? [];
  const known = new Set(fresh.map((job) => job.id));
  const rows = older ? [...fresh, ...all.rows.filter((job) => !known.has(job.id))] : fresh;
  const more = older ? all.more : (newest.data?.next ?? null) !== null;
  return (
    <Panel flush>
      <div class="filters">
        <Select<"" | JobKind> label="Kind" value={kind} onChange={setKind} options={[["", "All"], ...KINDS.map((one): [JobKind, string] => [one, words(one)])]} />
        <Select<"" | JobState> label="State" value={state} onChange={setState} options={[["", "All"], ...STATES.map((one): [JobState, string] => [one, words(one)])]} />
        <Select label="Connection" value={connection} onChange={setConnection} options={[["", "All"], ...(connections.data?.connections ?? []).map(({ name }): [string, string] => [name, name])]} />
      </div>
      <LoadError error={newest.error ?? all.error} stale={rows.length > 0} retry={newest.reload} />
      <Table
        caption="Jobs, newest first"
        columns={columns(newest.reload)}
        rows={rows}
        rowKey={(job) => job.id}
        loading={newest.loading}
        minWidth="900px"
        empty={newest.error ? null : <Empty title="No jobs">{kind || state || connection ? "None matches the filters." : "They run by themselves as soon as a connection is active."}</Empty>}
      />
      <More more={more} loading={older && all.loading} loadMore={older ? all.loadMore : () => setOlder(true)} shown={rows.length} />
    </Panel>
  );
}

function columns(reload: () => void): Column<Job>[] {
  return [
    { title: "Job", heading: true, width: "178px", cell: (job) => <>{words(job.kind)}<span class="sub">no. {job.id}, by {job.requested_by ?? "the engine"}</span></> },
    { title: "Connection", width: "140px", cell: (job) => (job.connection ? <a href={`/connections/${encodeURIComponent(job.connection)}`}>{job.connection}</a> : "–") },
    { title: "State", width: "122px", cell: (job) => <><Badge state={job.state} />{job.attempts > 1 ? <span class="sub">attempt {job.attempts} of {job.attempts_max}</span> : null}</> },
    { title: "Result", long: true, cell: (job) => <Result job={job} /> },
    { title: "When", width: "134px", cell: (job) => (job.finished_at ? <Ago at={job.finished_at} /> : job.started_at ? <>for <Age at={job.started_at} /></> : <>queued <Ago at={job.queued_at} /></>) },
    { title: "", width: "104px", numeric: true, cell: (job) => (mayCancel(job) ? <button type="button" class="small" aria-label={`Cancel job ${job.id}`} onClick={() => cancel(job, reload)}>Cancel</button> : null) },
  ];
}

const mayCancel = (job: Job): boolean => ["queued", "running"].includes(job.state) && mayWrite() && (may("manage-jobs") || job.requested_by === user()?.name);

function cancel(job: Job, reload: () => void): void {
  api.post<Job>(`/api/jobs/${job.id}/cancel`).then(
    () => {
      say(`Job ${job.id} was cancelled.`);
      reload();
    },
    (thrown) => say(asError(thrown).message, "bad"),
  );
}

function Result({ job }: { job: Job }) {
  const { symbol, timeframe, from, to } = job.parameters;
  const day = (time: unknown): string => (typeof time === "string" ? dateTime(time, zone.value).slice(0, 10) : "");
  const what = [symbol, timeframe, from ? `${day(from)} to ${day(to) || "now"}` : ""].filter(Boolean).join(", ");
  return (
    <div class="stack hair">
      {what ? <span>{what}</span> : null}
      {job.progress && job.state === "running" ? <Meter value={job.progress.done} max={job.progress.total} label={`Progress of job ${job.id}`} /> : null}
      {progressWords(job) ? <span class="quiet digits">{progressWords(job)}</span> : null}
      {job.message ? <span class={job.state === "failed" ? "bad-text" : "quiet"}>{job.message}</span> : null}
      {job.state === "queued" && job.next_attempt_at ? <span class="quiet">next attempt <When at={job.next_attempt_at} only="clock" /></span> : null}
    </div>
  );
}

function Schedules() {
  const { data, error, loading, reload } = useLoad<Schemas["JobSchedules"]>("/api/job-schedules", {}, 10_000);
  return (
    <Panel flush>
      <LoadError error={error} stale={!!data} retry={reload} />
      <Table
        caption="What runs when"
        columns={SCHEDULES}
        rows={data?.schedules ?? []}
        rowKey={(one) => `${one.kind} ${one.connection} ${one.every}`}
        loading={loading}
        minWidth="700px"
        empty={error ? null : <Empty title="Nothing is scheduled">Activate a connection; what it needs is then done by itself.</Empty>}
      />
    </Panel>
  );
}

const SCHEDULES: Column<Schedule>[] = [
  { title: "Job", heading: true, cell: (one) => words(one.kind) },
  { title: "Connection", cell: (one) => one.connection ?? "–" },
  { title: "Every", cell: (one) => one.every },
  { title: "Next", width: "200px", cell: (one) => <When at={one.next_at} /> },
  { title: "Last", cell: (one) => (one.last_state ? <span class="row"><Badge state={one.last_state} /><Ago at={one.last_at} /></span> : <span class="quiet">not yet</span>) },
];
