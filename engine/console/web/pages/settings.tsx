// Which providers may be connected, when alerts are raised, and where they are sent.

import { useEffect, useState } from "preact/hooks";
import { api } from "../api.ts";
import { say } from "../notices.ts";
import { AlertRules } from "../parts/settings/rules.tsx";
import { Webhooks } from "../parts/settings/webhooks.tsx";
import { Check } from "../parts/field.tsx";
import { FormError, LoadError } from "../parts/notice.tsx";
import { Head, Panel } from "../parts/panel.tsx";
import type { Adapter, Settings } from "../types.ts";
import { useAction, useLoad } from "../use.ts";

export default function SettingsPage() {
  const loaded = useLoad<Settings>("/api/settings");
  const adapters = useLoad<{ adapters: Adapter[] }>("/api/adapters");
  const [edited, setEdited] = useState<Settings | null>(null);
  useEffect(() => {
    if (loaded.data) setEdited(loaded.data);
  }, [loaded.data]);
  const changed = edited !== null && JSON.stringify(edited) !== JSON.stringify(loaded.data);
  const save = useAction(async () => {
    setEdited(await api.put<Settings>("/api/settings", edited));
    say("The settings were saved.");
    loaded.reload();
  });
  if (!edited) return <div class="stack"><Head title="Settings" /><LoadError error={loaded.error} retry={loaded.reload} />{loaded.error ? null : <p class="quiet" aria-busy="true">Loading</p>}</div>;
  const alerts = edited.alerts;
  return (
    <form class="stack" onSubmit={(e) => { e.preventDefault(); if (!save.busy) void save.run(); }}>
      <Head title="Settings" about="They take effect at once, without a restart. What is not here stands in the configuration file." />
      <LoadError error={adapters.error} retry={adapters.reload} />
      <Providers approved={edited.approved_providers} adapters={adapters.data?.adapters ?? []} onChange={(approved_providers) => setEdited({ ...edited, approved_providers })} />
      <AlertRules rules={alerts.rules} onChange={(rules) => setEdited({ ...edited, alerts: { ...alerts, rules } })} />
      <Webhooks webhooks={alerts.webhooks} rules={Object.keys(alerts.rules)} changed={changed} onChange={(webhooks) => setEdited({ ...edited, alerts: { ...alerts, webhooks } })} />
      <FormError error={save.error} />
      <div class="save-bar">
        <span class="quiet grow" role="status">{changed ? "There are changes that are not saved." : "All is saved."}</span>
        <button type="button" disabled={!changed || save.busy} onClick={() => setEdited(loaded.data ?? null)}>Undo</button>
        <button type="submit" class="primary" disabled={!changed || save.busy}>{save.busy ? "Saving" : "Save"}</button>
      </div>
    </form>
  );
}

function Providers({ approved, adapters, onChange }: { approved: string[] | null; adapters: Adapter[]; onChange: (approved: string[] | null) => void }) {
  return (
    <Panel title="Approved providers">
      <div class="stack">
        <Check label="Only approved types may be connected" help="Connections that are there already go on." checked={approved !== null} onChange={(on) => onChange(on ? adapters.map(({ adapter }) => adapter) : null)} />
        {approved ? (
          <fieldset>
            <legend>Approved</legend>
            <div class="checks">
              {adapters.map(({ adapter, title }) => (
                <Check key={adapter} label={title} checked={approved.includes(adapter)} onChange={(on) => onChange(on ? [...approved, adapter] : approved.filter((one) => one !== adapter))} />
              ))}
            </div>
          </fieldset>
        ) : null}
      </div>
    </Panel>
  );
}
