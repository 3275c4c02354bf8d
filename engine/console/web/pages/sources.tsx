// Sources: how good each one is, by symbol, and which is recommended.

import { ms, percent, rate, count } from "../format.ts";
import { inPips } from "../live/best.ts";
import { PARTS, type Ranking, rankings, reason } from "../live/score.ts";
import { Empty } from "../parts/empty.tsx";
import { LoadError } from "../parts/notice.tsx";
import { Head, Panel } from "../parts/panel.tsx";
import { Table, type Column } from "../parts/table.tsx";
import { place, setQuery } from "../router.ts";
import type { Instrument, Schemas, SourceSummary } from "../types.ts";
import { useLoad } from "../use.ts";

export default function Sources() {
  const { data, error, loading, reload } = useLoad<Schemas["Sources"]>("/api/sources", {}, 5000);
  const instruments = useLoad<Schemas["Instruments"]>("/api/instruments");
  const filter = place.value.query.get("filter") ?? "";
  const all = data ? rankings(data.summaries, data.recommended) : [];
  const words = filter.toLowerCase().split(/\s+/);
  const shown = all.filter(({ symbol, sources }) => {
    const text = [symbol, ...sources.map(({ source }) => source)].join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  });
  return (
    <div class="stack sources">
      <Head title="Sources" about="How good each source was over the last 15 minutes, by symbol. The best global source of a symbol is recommended.">
        <label class="search">
          <span class="hidden">Filter by symbol or source</span>
          <input type="search" placeholder="Filter: symbol, source" value={filter} onInput={(e) => setQuery({ filter: e.currentTarget.value || null })} />
        </label>
      </Head>
      <LoadError error={error} stale={data !== undefined} retry={reload} />
      <Explained />
      {loading ? <Panel><span class="bone" /></Panel> : null}
      {data && all.length === 0 ? (
        <Panel>
          <Empty title="Nothing to rank yet">Scores come with the first minute of prices in an open market. Markets that are closed have none.</Empty>
        </Panel>
      ) : null}
      {all.length > 0 && shown.length === 0 ? <Panel><Empty title="Nothing fits the filter" /></Panel> : null}
      {shown.map((ranking) => (
        <One key={ranking.symbol} ranking={ranking} instrument={instruments.data?.instruments.find(({ symbol }) => symbol === ranking.symbol) ?? null} />
      ))}
    </div>
  );
}

/** The parts of the score with their colours. */
function Explained() {
  return (
    <Panel>
      <details class="explained">
        <summary>
          <span class="explained-title">What the score is made of</span>
          <span class="part-keys">
            {PARTS.map(({ part, title, max }) => <span key={part} class="part-key"><span class={`part-dot ${part}`} aria-hidden="true" />{title} <span class="quiet">{max}</span></span>)}
          </span>
        </summary>
        <dl class="part-words">
          {PARTS.map(({ part, title, max, help }) => (
            <div key={part}><dt><span class={`part-dot ${part}`} aria-hidden="true" />{title}, up to {max} points</dt><dd class="quiet">{help}</dd></div>
          ))}
        </dl>
        <p class="quiet">Latency, spread and clean prices count only in minutes with prices. A private source is compared with the global ones and changes none of their scores; it is never recommended.</p>
      </details>
    </Panel>
  );
}

function One({ ranking, instrument }: { ranking: Ranking; instrument: Instrument | null }) {
  const spread = (summary: SourceSummary): string => {
    if (summary.avg_spread === null) return "–";
    const text = String(summary.avg_spread);
    const pips = instrument ? inPips(text, instrument.pip) : null;
    return pips ?? text;
  };
  const columns: Column<SourceSummary>[] = [
    {
      title: "Source",
      heading: true,
      width: "24%",
      cell: (row) => (
        <>
          <span class="row tight">{row.source}{row.source === ranking.recommended ? <span class="badge good"><span class="dot" aria-hidden="true" />Recommended</span> : null}</span>
          <span class="sub">{reason(ranking, row)}</span>
        </>
      ),
    },
    { title: "Score", width: "26%", cell: (row) => <Score summary={row} /> },
    { title: "Uptime", numeric: true, cell: (row) => <>{percent(row.uptime_percent)}<span class="sub">complete <span class="nowrap">{percent(row.completeness_percent, 0)}</span></span></> },
    { title: "Latency", numeric: true, cell: (row) => <>{ms(row.latency_p50_ms)}<span class="sub">p99 {ms(row.latency_p99_ms)}</span></> },
    { title: "Spread", numeric: true, width: "8.5%", cell: (row) => <>{spread(row)}<span class="sub">{instrument ? "pips" : ""}</span></> },
    { title: "Ticks/s", numeric: true, cell: (row) => <>{rate(row.ticks_per_second)}<span class="sub">{count(row.rejects)} refused</span></> },
    { title: "Makes best", numeric: true, cell: (row) => <>{percent(row.best_share_percent)}<span class="sub">of quotes</span></> },
  ];
  return (
    <Panel flush title={ranking.symbol} aside={<a href={`/symbols/${encodeURIComponent(ranking.symbol)}`}>Prices and candles</a>}>
      <Table caption={`Sources of ${ranking.symbol}, best first`} columns={columns} rows={ranking.sources} rowKey={({ source }) => source} minWidth="860px" />
    </Panel>
  );
}

function Score({ summary }: { summary: SourceSummary }) {
  const told = PARTS.map(({ part, title, max }) => `${title} ${summary.parts[part].toFixed(1)} of ${max}`).join(", ");
  return (
    <div class="score">
      <b class="score-number">{summary.score.toFixed(1)}</b>
      <div class="score-bar" role="img" aria-label={`Score ${summary.score.toFixed(1)} of 100: ${told}`} title={told.replaceAll(", ", "\n")}>
        {PARTS.map(({ part, max }) => (
          <span key={part} class="score-slot" style={{ flexGrow: max }}>
            <span class={`score-part ${part}`} style={{ width: `${Math.min(100, Math.max(0, (summary.parts[part] / max) * 100))}%` }} />
          </span>
        ))}
      </div>
    </div>
  );
}
