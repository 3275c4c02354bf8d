// One symbol: who says what of it now, and its candles.

import { useCallback, useState } from "preact/hooks";
import { api } from "../api.ts";
import type { Side } from "../chart/bars.ts";
import { TIMEFRAMES, inWords } from "../chart/timeframes.ts";
import { ChartPanel } from "../chart/panel.tsx";
import { Depth, Best } from "../live/depth.tsx";
import { Empty } from "../parts/empty.tsx";
import { Select, Segments } from "../parts/field.tsx";
import { LoadError } from "../parts/notice.tsx";
import { Head, Panel } from "../parts/panel.tsx";
import { LiveMark } from "../parts/time.tsx";
import { place, setQuery } from "../router.ts";
import type { PageProps } from "../routes.ts";
import { mergeRows, type LiveState } from "../sse.ts";
import type { DepthRow, IndicatorSeries, Instrument, Schemas } from "../types.ts";
import { useLoad } from "../use.ts";

const SIDES: readonly (readonly [Side, string])[] = [["bid", "Bid"], ["mid", "Mid"], ["ask", "Ask"]];

const asks = {
  bars: (query: Parameters<typeof api.get>[1]) => api.get<Schemas["Bars"]>("/api/bars", query),
  indicators: (query: Parameters<typeof api.get>[1]) => api.get<{ series: IndicatorSeries[] }>("/api/indicators", query),
  gaps: (query: Parameters<typeof api.get>[1]) => api.get<Schemas["Gaps"]>("/api/gaps", query),
};

export default function Symbol({ params }: PageProps) {
  const symbol = params.symbol ?? "";
  const { query } = place.value;
  const source = query.get("source") ?? "best";
  const timeframe = query.get("timeframe") ?? "M1";
  const side = SIDES.find(([word]) => word === query.get("price"))?.[0] ?? "bid";
  const instruments = useLoad<Schemas["Instruments"]>("/api/instruments");
  const instrument = instruments.data?.instruments.find((one) => one.symbol === symbol) ?? null;
  const [depth, setDepth] = useState<Map<string, DepthRow>>(new Map());
  const [live, setLive] = useState<LiveState>({ kind: "connecting" });
  const onDepth = useCallback((rows: DepthRow[], whole: boolean) => {
    setDepth((before) => mergeRows(before, rows, (row) => row.source, whole));
  }, []);

  if (instruments.data && !instrument) {
    return (
      <>
        <Head title={symbol} />
        <Panel>
          <Empty title={`No source of yours has ${symbol}`} action={<a class="button" href="/live">All symbols</a>}>
            A connection must be subscribed to it before it has prices.
          </Empty>
        </Panel>
      </>
    );
  }
  const sources = instrument?.sources ?? [];
  const timeframes = TIMEFRAMES.includes(timeframe as never) ? TIMEFRAMES : [...TIMEFRAMES, timeframe];

  return (
    <div class="symbol stack">
      <Head title={symbol} badge={<LiveMark state={live} />} about={instrument ? about(instrument) : "\u00a0"}>
        <Best rows={[...depth.values()]} instrument={instrument} />
      </Head>
      <LoadError error={instruments.error} retry={instruments.reload} stale={instruments.data !== undefined} />
      <Panel flush title="Sources side by side">
        <Depth rows={[...depth.values()]} sources={sources} instrument={instrument} />
      </Panel>
      <section class="panel flush chart-panel" aria-label="Candles">
        <div class="chart-bar">
          <Segments label="Length of the bars" value={timeframe} options={timeframes.map((word) => [word, word] as const)} onChange={(chosen) => setQuery({ timeframe: chosen })} />
          <Segments label="Price" value={side} options={SIDES} onChange={(chosen) => setQuery({ price: chosen })} />
          <Select label="Source" value={source} options={[["best", "Best price"], ...sources.map((name) => [name, name] as const)]} onChange={(chosen) => setQuery({ source: chosen === "best" ? null : chosen })} />
        </div>
        <ChartPanel
          key={`${source}/${timeframe}`}
          subject={{ symbol, source, timeframe }}
          sources={sources}
          instrument={instrument}
          side={side}
          label={`${symbol}, bars of ${inWords(timeframe)}, ${side} of ${source === "best" ? "the best price" : source}`}
          asks={asks}
          onDepth={onDepth}
          onLive={setLive}
        />
      </section>
    </div>
  );
}

function about(instrument: Instrument): string {
  const { sources } = instrument;
  const kinds: Record<string, string> = { fx: "Foreign exchange", metal: "Metal", index: "Index", crypto: "Crypto" };
  const count = sources.length === 1 ? "one source" : `${sources.length} sources`;
  return `${kinds[instrument.class] ?? instrument.class}, ${instrument.digits} digits, pip ${instrument.pip}, ${count}.`;
}
