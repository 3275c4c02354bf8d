// Starting a job by hand: its fields follow its kind.

import { useState } from "preact/hooks";
import { api } from "../api.ts";
import { TIMEFRAMES } from "../chart/timeframes.ts";
import { say } from "../notices.ts";
import { words } from "../format.ts";
import { date } from "../time.ts";
import type { Job, JobKind, Schemas } from "../types.ts";
import { useAction, useLoad } from "../use.ts";
import { may, mayChange } from "../viewer.ts";
import { Dialog } from "./dialog.tsx";
import { Field, Select, errorOf } from "./field.tsx";
import { FormError, LoadError, Notice } from "./notice.tsx";

const ABOUT: Record<JobKind, string> = {
  fetch_bars: "Fetches the newest bars of one timeframe.",
  refresh_symbols: "Asks the venue for its symbols anew.",
  refresh_account: "Asks the venue for the account's balance.",
  backfill: "Fetches older bars of a period.",
  repair: "Fills the holes of a connection from its venue's history.",
  retention: "Deletes what is older than the rules of retention say.",
};
const NEEDS: Record<JobKind, { connection: boolean; symbol: boolean; timeframe: boolean; period: boolean }> = {
  fetch_bars: { connection: true, symbol: false, timeframe: true, period: false },
  refresh_symbols: { connection: true, symbol: false, timeframe: false, period: false },
  refresh_account: { connection: true, symbol: false, timeframe: false, period: false },
  backfill: { connection: true, symbol: true, timeframe: true, period: true },
  repair: { connection: true, symbol: false, timeframe: false, period: false },
  retention: { connection: false, symbol: false, timeframe: false, period: false },
};

export function StartJob({ onClose }: { onClose: () => void }) {
  const { data, error, reload } = useLoad<Schemas["ConnectionList"]>("/api/data-connections");
  const usable = (data?.connections ?? []).filter((one) => may("manage-jobs") || mayChange(one));
  // A hole is repaired from the page of gaps, where one sees which.
  const kinds = (Object.keys(ABOUT) as JobKind[]).filter((kind) => kind !== "repair" && (NEEDS[kind].connection || may("manage-jobs")));
  const [kind, setKind] = useState<JobKind>(kinds[0]!);
  const [name, setName] = useState("");
  const [symbol, setSymbol] = useState("");
  const [timeframe, setTimeframe] = useState("");
  const [from, setFrom] = useState(date(Date.now() / 1000 - 30 * 86400, "UTC"));
  const [to, setTo] = useState(date(Date.now() / 1000, "UTC"));
  const one = usable.find((each) => each.name === name) ?? usable[0];
  const needs = NEEDS[kind];
  const symbols = Object.keys(one?.symbols ?? {});
  // One that fetches no bars by itself can be asked for any.
  const timeframes: readonly string[] = one?.timeframes.length ? one.timeframes : TIMEFRAMES;
  const chosenSymbol = symbols.includes(symbol) ? symbol : (symbols[0] ?? "");
  const chosenTimeframe = timeframes.includes(timeframe) ? timeframe : (timeframes[0] ?? "");
  const start = useAction(async () => {
    const job = await api.post<Job>("/api/jobs", {
      kind,
      ...(needs.connection ? { connection: one?.name } : {}),
      ...(needs.symbol ? { symbol: chosenSymbol } : {}),
      ...(needs.timeframe ? { timeframe: chosenTimeframe } : {}),
      ...(needs.period ? { from, to } : {}),
    } satisfies Schemas["NewJob"]);
    say(`Job ${job.id} was queued.`);
    onClose();
  });
  const options = (list: readonly string[]) => list.map((each): [string, string] => [each, each]);
  return (
    <Dialog title="Start a job" onClose={onClose}>
      <form class="stack" onSubmit={(e) => { e.preventDefault(); if (!start.busy) void start.run(); }}>
        <LoadError error={error} retry={reload} />
        <Select<JobKind> label="What" value={kind} onChange={setKind} options={kinds.map((each): [JobKind, string] => [each, words(each)])} />
        <p class="help">{ABOUT[kind]}</p>
        {needs.connection ? (usable.length || !data ? <Select label="Connection" value={one?.name ?? ""} onChange={setName} options={options(usable.map((each) => each.name))} /> : <Notice kind="warn">You have no connection to run this for.</Notice>) : null}
        {needs.symbol ? <Select label="Symbol" value={chosenSymbol} onChange={setSymbol} options={options(symbols)} /> : null}
        {needs.timeframe ? <Select label="Timeframe" value={chosenTimeframe} onChange={setTimeframe} options={options(timeframes)} /> : null}
        {needs.period ? (
          <div class="columns even keep">
            <Field label="From" error={errorOf(start.error, "from")}>{(props) => <input {...props} type="date" required max={to} value={from} onInput={(e) => setFrom(e.currentTarget.value)} />}</Field>
            <Field label="To" error={errorOf(start.error, "to")}>{(props) => <input {...props} type="date" required min={from} value={to} onInput={(e) => setTo(e.currentTarget.value)} />}</Field>
          </div>
        ) : null}
        <FormError error={start.error} fields={["from", "to"]} />
        <footer class="row end">
          <button type="button" onClick={onClose}>Cancel</button>
          <button type="submit" class="primary" disabled={start.busy || (needs.connection && !one)}>{start.busy ? "Queueing" : "Start"}</button>
        </footer>
      </form>
    </Dialog>
  );
}
