// The form of a connection: its fields follow the type.

import { useEffect, useRef, useState } from "preact/hooks";
import { api, part } from "../../api.ts";
import type { Adapter, Connection, Schemas, TestResult } from "../../types.ts";
import { useAction } from "../../use.ts";
import { may } from "../../viewer.ts";
import { Check, Field, errorOf } from "../field.tsx";
import { FormError, Notice } from "../notice.tsx";
import { Panel } from "../panel.tsx";
import { draftOf, typedOf, undescribed } from "./draft.ts";
import type { Typed } from "./draft.ts";
import { AdapterFields } from "./fields.tsx";
import { SymbolPicker } from "./symbols.tsx";
import { TestOutcome } from "./test.tsx";

interface FormProps {
  adapters: Adapter[];
  existing: Connection | null;
  onSaved: (saved: Connection, changes: string[]) => void;
}

export function ConnectionForm({ adapters, existing, onSaved }: FormProps) {
  // Those who do not manage connections make private ones only.
  const mayShare = may("manage-data-connections");
  const first = adapters.find((one) => (existing ? one.adapter === existing.adapter : one.approved));
  const [typed, setTyped] = useState<Typed | null>(first ? typedOf(first, existing, !mayShare) : null);
  const [result, setResult] = useState<TestResult | null>(null);
  const adapter = adapters.find((one) => one.adapter === typed?.adapter);
  const clear = () => [test, keep, keepAndStart].forEach((action) => action.clear());
  const changed = (changes: Partial<Typed>) => {
    setTyped((before) => before && { ...before, ...changes });
    setResult(null);
    clear();
  };
  const draft = () => draftOf(typed!, adapter!, existing);

  const test = useAction(async () => {
    clear();
    setResult(null);
    setResult(await api.post<TestResult>("/api/data-connections/test", draft()));
  });
  const save = async (activate: boolean) => {
    clear();
    const { name, adapter: _adapter, private: _private, ...changes } = draft();
    let saved = existing
      ? await api.patch<Connection>(`/api/data-connections/${part(existing.name)}`, changes satisfies Schemas["ChangedConnection"])
      : await api.post<Connection>("/api/data-connections", draft());
    let said: string[] = [];
    if (activate) {
      try {
        const answer = await api.post<Schemas["ChangeDone"]>(`/api/data-connections/${part(saved.name)}/activate`);
        saved = answer.connection;
        said = answer.changes;
      } catch (thrown) {
        // It is stored all the same; the page of the connection is where to go on.
        said = [`${saved.name} was created, but could not be switched on: ${thrown instanceof Error ? thrown.message : thrown}`];
      }
    }
    onSaved(saved, said);
  };
  const keep = useAction(() => save(false));
  const keepAndStart = useAction(() => save(true));

  const error = keep.error ?? keepAndStart.error ?? test.error;
  const form = useRef<HTMLFormElement>(null);
  // What is wrong may stand far above the button that was pressed.
  useEffect(() => {
    const field = error?.field ? form.current?.querySelector<HTMLElement>("[aria-invalid=true], .error") : null;
    field?.scrollIntoView({ block: "center" });
    if (field?.matches("input, select, textarea")) field.focus({ preventScroll: true });
  }, [error]);

  if (!typed || !adapter) return <Notice kind="warn">No type of connection is approved for your account. An administrator approves them in the settings.</Notice>;
  const unknown = undescribed(error?.field);
  const busy = keep.busy || keepAndStart.busy || test.busy;
  const known = [...(unknown ? [error!.field!] : []), "adapter", "name", "provider", "symbols", "timeframes", "retention_days", ...adapter.fields.flatMap(({ key }) => [key, `config.${key}`, `secrets.${key}`])];
  const submit = (event: Event) => {
    event.preventDefault();
    if (!busy) void keep.run();
  };
  return (
    <form ref={form} class="stack" onSubmit={submit} aria-busy={busy ? true : undefined}>
      <Panel title="What and where">
        <div class="stack">
          <div class="form-grid">
            <Field label="Type" help={adapter.approved ? undefined : "Not on the list of approved providers."} error={errorOf(error, "adapter")}>
              {(props) => (
                <select {...props} name="adapter" disabled={!!existing} value={typed.adapter} onChange={(e) => {
                  const chosen = adapters.find((one) => one.adapter === e.currentTarget.value);
                  if (chosen) setTyped({ ...typedOf(chosen, null, typed.private), name: typed.name, provider: typed.provider });
                  setResult(null);
                }}>
                  {adapters.map((one) => <option key={one.adapter} value={one.adapter} selected={one.adapter === typed.adapter} disabled={!one.approved && !existing}>{one.title}{one.approved ? "" : " (not approved)"}</option>)}
                </select>
              )}
            </Field>
            <Field label="Name" help={existing ? "A name stays: stored prices carry it." : "Small letters, digits and dashes. It names the source of every price."} error={errorOf(error, "name")}>
              {(props) => <input {...props} name="name" required disabled={!!existing} autocomplete="off" autocapitalize="none" spellcheck={false} value={typed.name} onInput={(e) => changed({ name: e.currentTarget.value })} />}
            </Field>
            <Field label="Provider" optional help="The broker behind it, for your own overview." error={errorOf(error, "provider")}>
              {(props) => <input {...props} name="provider" autocomplete="off" value={typed.provider} onInput={(e) => changed({ provider: e.currentTarget.value })} />}
            </Field>
          </div>
          {mayShare && !existing ? <Check label="Private" help="Only you see its prices, and they are not part of the best price of others." checked={typed.private} onChange={(on) => changed({ private: on })} /> : null}
          <div class="form-grid">
            <AdapterFields adapter={adapter} typed={typed} stored={existing?.secrets ?? []} error={error} onChange={changed} />
          </div>
        </div>
      </Panel>
      <Panel title="Symbols">
        <SymbolPicker adapter={adapter} rows={typed.symbols} draft={draft} existing={existing} error={errorOf(error, "symbols") ?? (unknown ? error!.message : null)} instruments={typed.instruments} unknown={unknown} onChange={changed} />
      </Panel>
      <Panel title="What is kept">
        <div class="stack">
          <Timeframes offered={adapter.timeframes} chosen={typed.timeframes} onChange={(timeframes) => changed({ timeframes })} error={errorOf(error, "timeframes")} hasHistory={adapter.has_history} />
          <Check label="Store every tick" help="Bars are stored in any case. Ticks take the most room." checked={typed.storesTicks} onChange={(on) => changed({ storesTicks: on })} />
          <div class="form-grid">
            <Field label="Keep data for, days" optional={!existing?.retention_days} help={existing?.retention_days ? undefined : "Empty: a year."} error={errorOf(error, "retention_days")}>
              {(props) => <input {...props} name="retention_days" type="number" required={!!existing?.retention_days} min="1" max="36500" step="1" inputMode="numeric" value={typed.retentionDays} onInput={(e) => changed({ retentionDays: e.currentTarget.value })} />}
            </Field>
          </div>
        </div>
      </Panel>
      <TestOutcome result={result} busy={test.busy} />
      <FormError error={error} fields={known} />
      {error?.field && known.includes(error.field) ? <Notice kind="bad">One field needs another value: it is marked above.</Notice> : null}
      <div class="row">
        <button type="submit" class={existing ? "primary" : undefined} disabled={busy}>{keep.busy ? "Saving" : existing ? "Save" : "Save, switched off"}</button>
        {existing ? null : <button type="button" class="primary" disabled={busy} onClick={(e) => e.currentTarget.form?.reportValidity() && void keepAndStart.run()}>{keepAndStart.busy ? "Switching on" : "Save and activate"}</button>}
        <button type="button" disabled={busy} onClick={() => void test.run()}>{test.busy ? "Testing" : "Test"}</button>
      </div>
    </form>
  );
}

function Timeframes({ offered, chosen, onChange, error, hasHistory }: { offered: string[]; chosen: string[]; onChange: (chosen: string[]) => void; error: string | null; hasHistory: boolean }) {
  return (
    <fieldset>
      <legend>Timeframes</legend>
      <div class="chips">
        {offered.map((one) => (
          <label key={one} class="chip">
            <input type="checkbox" name={`timeframe-${one}`} checked={chosen.includes(one)} onChange={(e) => onChange(offered.filter((other) => (other === one ? e.currentTarget.checked : chosen.includes(other))))} />
            <span>{one}</span>
          </label>
        ))}
      </div>
      <p class="help">{hasHistory ? "Their history is fetched when the connection is first activated, and each new bar as it closes." : "This venue gives no history: bars begin when the connection is activated."}</p>
      {error ? <p class="error" role="alert">{error}</p> : null}
    </fieldset>
  );
}
