// Pipeline: how long each stage takes, what flows, what waits, what is refused.

import { count, nanos, percent, rate, words } from "../format.ts";
import { decades, share, ticks } from "../live/scale.ts";
import { Empty } from "../parts/empty.tsx";
import { LoadError } from "../parts/notice.tsx";
import { Figure, Figures, Head, Meter, Panel } from "../parts/panel.tsx";
import { Table, type Column } from "../parts/table.tsx";
import type { Pipeline as Answer } from "../types.ts";
import { useLoad } from "../use.ts";

type Stage = Answer["stages"][number];
type Queue = Answer["queues"][number];
type Rate = Answer["rates"][number];

/** The queue that keeps what was said last: it is full after a while, and older things make room by design. */
const KEPT = "fanout";
const QUEUES: Record<string, string> = {
  inbound: "slots between the sockets and the stages",
  outbound: "slots between the stages and their readers",
  journal: "bytes on their way to the disk",
  fanout: "records kept for terminals that come back",
  storage: "rows on their way to the database",
  repairs: "gaps that wait to be mended",
};

export default function Pipeline() {
  const { data, error, loading, reload } = useLoad<Answer>("/api/pipeline", {}, 2000);
  const flow = data?.rates.reduce((sum, { per_second }) => sum + per_second, 0);
  const dropped = data?.queues.filter(({ queue }) => queue !== KEPT).reduce((sum, one) => sum + one.dropped, 0);
  const head = (
    <>
      <Head title="Pipeline" about="What happens to a price between the venue's socket and the terminals: latencies of the last seconds, anew every 2 s." />
      <LoadError error={error} stale={data !== undefined} retry={reload} />
    </>
  );
  // Without an answer nothing is said of the pipeline: empty tables would be a claim.
  if (error && !data) return <div class="stack">{head}</div>;
  return (
    <div class="stack pipeline">
      {head}
      <Figures>
        <Figure label="Socket to publication, p50" value={nanos(data?.publish?.p50_ns)} detail="half are faster" />
        <Figure label="p99" value={nanos(data?.publish?.p99_ns)} detail="one in 100 is slower" />
        <Figure label="p99.9" value={nanos(data?.publish?.p999_ns)} detail="one in 1000 is slower" />
        <Figure label="Prices per second" value={rate(flow)} detail="over all sources" />
        <Figure label="Dropped" value={count(dropped)} detail="queues that were full" tone={dropped ? "bad" : undefined} />
      </Figures>
      <Panel flush title="Latency by stage" aside={<Keys />}>
        <Stages stages={data?.stages ?? []} loading={loading} />
      </Panel>
      <div class="columns even">
        <Panel flush title="Queues"><Queues queues={data?.queues ?? []} loading={loading} /></Panel>
        <Panel flush title="Rates by source"><Rates rates={data?.rates ?? []} loading={loading} /></Panel>
      </div>
      <Panel flush aside={<span class="quiet">refused, or accepted with a remark</span>} title="What the checks found, by reason"><Rejects rejects={data?.rejects ?? []} rates={data?.rates ?? []} loading={loading} /></Panel>
    </div>
  );
}

function Keys() {
  return (
    <span class="part-keys">
      <span class="part-key"><span class="lat-dot p50" aria-hidden="true" />p50</span>
      <span class="part-key"><span class="lat-dot p99" aria-hidden="true" />p99</span>
      <span class="part-key"><span class="lat-dot p999" aria-hidden="true" />p99.9</span>
      <span class="quiet">logarithmic</span>
    </span>
  );
}

/** Bars from p50 over p99 to p99.9 on one scale for all stages. */
function Stages({ stages, loading }: { stages: Stage[]; loading: boolean }) {
  const scale = decades(stages.flatMap(({ p50_ns, p999_ns }) => [p50_ns, p999_ns]));
  const columns: Column<Stage>[] = [
    { title: "Stage", heading: true, width: "136px", cell: ({ stage }) => (stage === "all" ? "All together" : words(stage)) },
    { title: "p50, p99, p99.9", width: "33%", cell: (stage) => <Bar stage={stage} scale={scale} /> },
    { title: "p50", numeric: true, cell: ({ p50_ns }) => nanos(p50_ns) },
    { title: "p99", numeric: true, cell: ({ p99_ns }) => nanos(p99_ns) },
    { title: "p99.9", numeric: true, cell: ({ p999_ns }) => nanos(p999_ns) },
    { title: "Longest", numeric: true, cell: ({ max_ns }) => nanos(max_ns) },
    { title: "Measured", numeric: true, width: "12.5%", cell: (stage) => count(stage.count) },
  ];
  return (
    <>
      <Table caption="Latency of each stage" columns={columns} rows={stages} rowKey={({ stage }) => stage} loading={loading} minWidth="760px" empty={<Empty title="Nothing was measured yet">Latencies come with the first prices.</Empty>} />
      {stages.length > 0 ? <p class="quiet keys pad">The scale reaches from {nanos(ticks(scale)[0])} to {nanos(ticks(scale).at(-1))}; each mark is ten times the one before. One input in 16 is measured in each stage.</p> : null}
    </>
  );
}

function Bar({ stage, scale }: { stage: Stage; scale: [number, number] }) {
  const at = (value: number): string => `${(share(value, scale) * 100).toFixed(2)}%`;
  return (
    <div class="lat" role="img" aria-label={`p50 ${nanos(stage.p50_ns)}, p99 ${nanos(stage.p99_ns)}, p99.9 ${nanos(stage.p999_ns)}`}>
      {ticks(scale).slice(1, -1).map((value) => <span key={value} class="lat-mark" style={{ left: at(value) }} />)}
      <span class="lat-bar p999" style={{ width: at(stage.p999_ns) }} />
      <span class="lat-bar p99" style={{ width: at(stage.p99_ns) }} />
      <span class="lat-bar p50" style={{ width: at(stage.p50_ns) }} />
    </div>
  );
}

function Queues({ queues, loading }: { queues: Queue[]; loading: boolean }) {
  const tone = ({ queue, used, capacity }: Queue): "warn" | "bad" | undefined => {
    const fill = capacity && queue !== KEPT ? used / capacity : 0;
    return fill > 0.9 ? "bad" : fill > 0.6 ? "warn" : undefined;
  };
  const columns: Column<Queue>[] = [
    { title: "Queue", heading: true, width: "36%", cell: ({ queue }) => <>{words(queue)}<span class="sub">{QUEUES[queue] ?? ""}</span></> },
    { title: "Fill", cell: (queue) => (queue.capacity === null ? <span class="quiet">bounded by the disk</span> : <Meter label={`${words(queue.queue)}, fill`} value={queue.used} max={queue.capacity} tone={tone(queue)} />) },
    { title: "Used", numeric: true, width: "19%", cell: (queue) => <>{count(queue.used)}{queue.capacity === null ? null : <span class="sub">of {count(queue.capacity)}</span>}</> },
    { title: "Dropped", numeric: true, width: "18%", cell: ({ queue, dropped }) => (queue === KEPT ? "–" : dropped ? <span class="bad-text">{count(dropped)}</span> : "0") },
  ];
  return <Table caption="Queues" columns={columns} rows={queues} rowKey={({ queue }) => queue} loading={loading} empty={<Empty title="No queues are told" />} />;
}

function Rates({ rates, loading }: { rates: Rate[]; loading: boolean }) {
  const columns: Column<Rate>[] = [
    { title: "Source", heading: true, cell: ({ source }) => source },
    { title: "Per second", numeric: true, cell: ({ per_second }) => rate(per_second) },
    { title: "Accepted", numeric: true, cell: ({ accepted }) => count(accepted) },
    { title: "Not accepted", numeric: true, cell: (row) => <>{count(row.rejected)}<span class="sub">{percent(row.accepted + row.rejected > 0 ? (row.rejected / (row.accepted + row.rejected)) * 100 : 0, 2)}</span></> },
  ];
  return <Table caption="Rates by source" columns={columns} rows={rates} rowKey={({ source }) => source} loading={loading} empty={<Empty title="No source has spoken yet" />} />;
}

/** What the checks are for. */
const REASONS: Record<string, string> = {
  non_positive: "A price of zero or less.",
  crossed: "The bid stood above the ask.",
  spread: "The spread was far wider than usual.",
  jump: "The price was far from the one before.",
  interval: "It came very soon after the one before.",
  stale: "Its stamp was too old.",
  future: "Its stamp was in the future.",
  session: "The market was closed.",
  empty_side: "A side was missing.",
  duplicate: "The same as the one before.",
  out_of_order: "Older than the one before.",
};

function Rejects({ rejects, rates, loading }: { rejects: Answer["rejects"]; rates: Rate[]; loading: boolean }) {
  const there = rejects.filter((one) => one.count > 0).sort((a, b) => b.count - a.count);
  const most = Math.max(1, ...there.map((one) => one.count));
  const of = (source: string): number => {
    const found = rates.find((one) => one.source === source);
    return found ? found.accepted + found.rejected : 0;
  };
  const columns: Column<Answer["rejects"][number]>[] = [
    { title: "Reason", heading: true, cell: ({ reason }) => <>{words(reason)}<span class="sub">{REASONS[reason] ?? ""}</span></> },
    { title: "Source", width: "18%", cell: ({ source }) => source },
    { title: "Beside the largest", width: "26%", cell: (row) => <Meter label={`${words(row.reason)} of ${row.source}`} value={row.count} max={most} tone="warn" /> },
    { title: "Count", numeric: true, width: "13%", cell: (row) => <>{count(row.count)}<span class="sub">{of(row.source) ? percent((row.count / of(row.source)) * 100, 3) : ""}</span></> },
  ];
  return <Table caption="What the checks found, by reason" columns={columns} rows={there} rowKey={({ source, reason }) => `${source}/${reason}`} loading={loading} empty={<Empty title="The checks found nothing">Every price was accepted without a remark.</Empty>} />;
}
