// Symbols are found by asking the venue; what the engine calls them can be changed.

import { useState } from "preact/hooks";
import { api, part } from "../../api.ts";
import type { Adapter, Connection, Draft, Schemas, VenueSymbol } from "../../types.ts";
import { useAction } from "../../use.ts";
import { Field } from "../field.tsx";
import { Icon } from "../icon.tsx";
import { FormError } from "../notice.tsx";
import { canonicalOf } from "./draft.ts";
import type { SymbolRow, Typed } from "./draft.ts";
import { InstrumentFields } from "./instrument.tsx";

interface Props {
  adapter: Adapter;
  rows: SymbolRow[];
  draft: () => Draft;
  existing: Connection | null;
  error: string | null;
  instruments: Typed["instruments"];
  /** A symbol that the engine asks to be described. */
  unknown: string | null;
  onChange: (changes: Partial<Typed>) => void;
}

export function SymbolPicker({ adapter, rows, draft, existing, error, instruments, unknown, onChange: change }: Props) {
  const onChange = (symbols: SymbolRow[]) => change({ symbols });
  const [search, setSearch] = useState("");
  const [found, setFound] = useState<VenueSymbol[] | null>(null);
  const [byHand, setByHand] = useState("");
  const ask = useAction(async () => {
    // With credentials as typed; stored ones stand in for those that were not.
    const typed = draft();
    const stored = existing && Object.keys(typed.secrets).length === 0;
    const answer = stored
      ? await api.get<Schemas["VenueSymbols"]>(`/api/data-connections/${part(existing.name)}/symbols`, { search, limit: 100 })
      : await api.post<Schemas["VenueSymbols"]>("/api/data-connections/symbols", { ...typed, search, limit: 100 } satisfies Schemas["DraftConnection"]);
    setFound(answer.symbols);
  });
  const add = (venue: string, canonical: string | null) => {
    if (venue && !rows.some((row) => row.venue === venue)) onChange([...rows, { venue, canonical: canonical ?? canonicalOf(venue) }]);
  };
  const onEnter = (run: () => void) => (event: KeyboardEvent) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    run();
  };
  return (
    <div class="columns even">
      <div class="stack tight">
        {adapter.has_symbols ? (
          <>
            <div class="row">
              <div class="grow">
                <Field label="Ask the venue">
                  {(props) => <input {...props} type="search" name="symbol-search" placeholder="EUR, gold, BTC" value={search} onInput={(e) => setSearch(e.currentTarget.value)} onKeyDown={onEnter(() => void ask.run())} />}
                </Field>
              </div>
              <button type="button" class="beside-label" disabled={ask.busy} onClick={() => void ask.run()}><Icon name="search" size={16} />{ask.busy ? "Asking" : "Search"}</button>
            </div>
            <FormError error={ask.error} />
            <div aria-live="polite">
              {found === null ? <p class="help">The list comes from the venue itself, with the credentials above.</p> : found.length === 0 ? <p class="help">The venue has nothing by that name.</p> : (
                <ul class="pick" tabIndex={0} aria-label="Symbols of the venue">
                  {found.map((one) => {
                    const taken = rows.some((row) => row.venue === one.venue);
                    return (
                      <li key={one.venue}>
                        <span class="grow"><strong>{one.venue}</strong>{one.description ? <span class="sub quiet"> {one.description}</span> : null}</span>
                        <button type="button" class="small" disabled={taken} aria-label={taken ? `${one.venue} added` : `Add ${one.venue}`} onClick={() => add(one.venue, one.canonical)}>{taken ? "Added" : "Add"}</button>
                      </li>
                    );
                  })}
                </ul>
              )}
            </div>
          </>
        ) : <p class="help">This venue cannot be asked for its symbols: type them as it writes them.</p>}
        <div class="row">
          <div class="grow">
            <Field label="Or type one, as the venue writes it">
              {(props) => <input {...props} name="symbol-by-hand" autocomplete="off" autocapitalize="none" spellcheck={false} value={byHand} onInput={(e) => setByHand(e.currentTarget.value)} onKeyDown={onEnter(() => { add(byHand.trim(), null); setByHand(""); })} />}
            </Field>
          </div>
          <button type="button" class="beside-label" disabled={!byHand.trim()} onClick={() => { add(byHand.trim(), null); setByHand(""); }}>Add</button>
        </div>
      </div>
      <div class="stack tight">
        <p class="label" id="chosen-symbols">Chosen, and what the engine calls them ({rows.length})</p>
        {rows.length === 0 ? <p class="help">None yet. Add those whose prices you want.</p> : (
          <ul class="pick" aria-labelledby="chosen-symbols">
            {rows.map((row, index) => (
              <li key={row.venue}>
                <span class="grow mono">{row.venue}</span>
                <Icon name="arrow" size={14} />
                <input class="short-input" aria-label={`Canonical name of ${row.venue}`} value={row.canonical} autocomplete="off" spellcheck={false} onInput={(e) => onChange(rows.map((other, at) => (at === index ? { ...other, canonical: e.currentTarget.value } : other)))} />
                <button type="button" class="bare" aria-label={`Remove ${row.venue}`} onClick={() => onChange(rows.filter((_, at) => at !== index))}><Icon name="close" size={16} /></button>
              </li>
            ))}
          </ul>
        )}
        {rows.filter(({ canonical }) => canonical === unknown || canonical in instruments).map(({ canonical }) => (
          <InstrumentFields key={canonical} symbol={canonical} value={instruments[canonical] ?? null} onChange={(value) => change({ instruments: { ...instruments, [canonical]: value } })} />
        ))}
        <p class="help">Sources that call a thing by the same canonical name are compared, and the best of them is published.</p>
        {error ? <p class="error" role="alert">{error}</p> : null}
      </div>
    </div>
  );
}
