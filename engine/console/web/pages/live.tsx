// Live: the best prices of all symbols, as they move.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { api } from "../api.ts";
import { Quotes, type Sort, type SortKey } from "../live/quotes.ts";
import { LiveTable } from "../live/table.ts";
import { Empty } from "../parts/empty.tsx";
import { Head } from "../parts/panel.tsx";
import { LiveMark } from "../parts/time.tsx";
import { shownTheme } from "../prefs.ts";
import { navigate, place, setQuery } from "../router.ts";
import type { LiveQuote, Schemas } from "../types.ts";
import { useLive, useLoad } from "../use.ts";

const COLUMNS: { key: SortKey | null; title: string; name: string; isNumber?: boolean; hint?: string }[] = [
  { key: "symbol", title: "Symbol", name: "l-symbol" },
  { key: null, title: "Bid", name: "l-bid", isNumber: true },
  { key: "bid_source", title: "Bid from", name: "l-bid-source", hint: "the source that makes the best bid" },
  { key: null, title: "Ask", name: "l-ask", isNumber: true },
  { key: "ask_source", title: "Ask from", name: "l-ask-source", hint: "the source that makes the best ask" },
  { key: "spread", title: "Spread", name: "l-spread", isNumber: true, hint: "in pips" },
  { key: "age", title: "Age", name: "l-age", isNumber: true, hint: "since the last change" },
  { key: "state", title: "State", name: "l-state" },
  { key: null, title: "Last 10 minutes", name: "l-spark" },
];
const KEYS = COLUMNS.flatMap(({ key }) => (key ? [key] : []));

function sortOf(text: string | null): Sort {
  const isDescending = text?.startsWith("-") ?? false;
  const key = KEYS.find((one) => one === text?.replace(/^-/, "")) ?? "symbol";
  return { key, isDescending };
}

/** What was seen before is there again when the viewer comes back to the page. */
const quotes = new Quotes();

export default function Live() {
  const body = useRef<HTMLTableSectionElement>(null);
  const search = useRef<HTMLInputElement>(null);
  const table = useRef<LiveTable | null>(null);
  const [isTold, setTold] = useState(false);
  const [count, setCount] = useState(0);
  const filter = place.value.query.get("filter") ?? "";
  const sorted = place.value.query.get("sort");
  const sort = useMemo(() => sortOf(sorted), [sorted]);
  const instruments = useLoad<Schemas["Instruments"]>("/api/instruments");

  const state = useLive("/api/live/quotes", {
    quotes: (data, whole) => {
      const { changed, gone } = quotes.apply(data as LiveQuote[], Date.now(), whole);
      setTold(true);
      table.current?.update(changed, gone);
    },
  });
  useEffect(() => {
    if (!body.current) return;
    const made = new LiveTable(body.current, quotes, setCount);
    table.current = made;
    return () => {
      made.dispose();
      table.current = null;
    };
  }, []);
  useEffect(() => table.current?.show(filter, sort), [filter, sort]);
  // The lines of the last minutes are fetched when there are rows to put them into.
  useEffect(() => {
    if (!isTold) return;
    api.get<Record<string, string[]>>("/api/live/sparklines").then(
      (lines) => {
        quotes.setLines(lines);
        table.current?.redraw();
      },
      () => {
        // Without them the lines begin now.
      },
    );
  }, [isTold]);
  useEffect(() => {
    if (instruments.data) quotes.setInstruments(instruments.data.instruments);
    table.current?.redraw();
  }, [instruments.data, shownTheme.value]);

  const onKey = (event: KeyboardEvent): void => {
    const isTyping = event.target instanceof HTMLInputElement;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      table.current?.focus(event.key === "ArrowDown" ? 1 : -1);
    } else if (event.key === "/" && !isTyping) {
      event.preventDefault();
      search.current?.focus();
    } else if (event.key === "Escape" && isTyping) {
      setQuery({ filter: null });
    }
  };
  const onClick = (event: MouseEvent): void => {
    const row = (event.target as Element).closest("tr");
    const link = row?.querySelector<HTMLAnchorElement>("th a");
    // A link is left to do what links do, and marking text is no click.
    if (!link || (event.target as Element).closest("a") || getSelection()?.toString()) return;
    navigate(link.pathname);
  };
  const total = quotes.rows.size;

  return (
    <div class="live" onKeyDown={onKey}>
      <Head title="Live" badge={<LiveMark state={state} />} about="The best bid and ask of each symbol over all sources you may read.">
        <label class="search">
          <span class="hidden">Filter by symbol, class, source or state</span>
          <input ref={search} type="search" placeholder="Symbol, source, state" value={filter} onInput={(e) => setQuery({ filter: e.currentTarget.value || null })} />
        </label>
        <label class="sort-choice narrow-only">
          <span class="hidden">Sort by</span>
          <select value={sorted ?? "symbol"} onChange={(e) => setQuery({ sort: e.currentTarget.value })}>
            {COLUMNS.filter(({ key }) => key).map(({ key, title }) => <option key={key} value={key!}>{title}</option>)}
          </select>
        </label>
      </Head>
      <div class="table-frame live-frame" role="region" aria-label="Best prices" tabIndex={0}>
        <table class="live-table" role="table" hidden={isTold && count === 0} aria-busy={!isTold && total === 0}>
          <caption class="hidden">Best prices of all symbols. Arrow keys move between symbols, Enter opens one.</caption>
          <thead role="rowgroup">
            <tr role="row">{COLUMNS.map((column) => <Heading key={column.name} column={column} sort={sort} />)}</tr>
          </thead>
          <tbody ref={body} role="rowgroup" onClick={onClick} />
        </table>
        {total === 0 && !isTold ? <Waiting isAway={state.kind === "away"} /> : null}
        {isTold && total === 0 ? (
          <Empty title="No prices yet" action={<a class="button" href="/connections">Look at the connections</a>}>
            As soon as a connection delivers, its symbols stand here.
          </Empty>
        ) : null}
        {total > 0 && count === 0 ? (
          <Empty title="Nothing fits the filter" action={<button type="button" onClick={() => setQuery({ filter: null })}>Show all</button>}>
            No symbol, source or state contains “{filter}”.
          </Empty>
        ) : null}
      </div>
      <p class="quiet keys">
        {count} of {total} symbols. Keys: <kbd>/</kbd> filter, <kbd>↑</kbd> <kbd>↓</kbd> move, <kbd>Enter</kbd> opens the symbol.
      </p>
    </div>
  );
}

function Heading({ column, sort }: { column: (typeof COLUMNS)[number]; sort: Sort }) {
  const { key, title, name, isNumber, hint } = column;
  const isSorted = key !== null && key === sort.key;
  const how = isSorted ? (sort.isDescending ? "descending" : "ascending") : undefined;
  const next = isSorted && !sort.isDescending ? `-${key}` : key;
  return (
    <th scope="col" role="columnheader" class={`${name}${isNumber ? " number" : ""}`} aria-sort={how}>
      {key ? (
        <button type="button" class="sorter" title={hint} onClick={() => setQuery({ sort: next })}>
          {title}<span class="sort-mark" aria-hidden="true">{isSorted ? (sort.isDescending ? "▾" : "▴") : ""}</span>
        </button>
      ) : title}
    </th>
  );
}

function Waiting({ isAway }: { isAway: boolean }) {
  if (isAway) return <Empty title="The engine does not answer">Prices come back by themselves as soon as it does.</Empty>;
  return <div class="bones" role="status"><span class="hidden">Waiting for prices</span>{[1, 2, 3, 4, 5, 6].map((n) => <span key={n} class="bone" />)}</div>;
}
