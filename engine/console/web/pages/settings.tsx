// Which providers may be connected, when alerts are raised, and where they are sent.

import { useEffect, useState } from "preact/hooks";
import { api } from "../api.ts";
import { say } from "../notices.ts";
import { AlertRules } from "../parts/settings/rules.tsx";
import { Webhooks } from "../parts/settings/webhooks.tsx";
import { Check } from "../parts/field.tsx";
import { FormError, LoadError } from "../parts/notice.tsx";
import { Head, Panel } from "../parts/panel.tsx";
import type { Adapter, AlertRule, AlertSettings, EditedWebhook, Schemas, Settings } from "../types.ts";
import { useAction, useLoad } from "../use.ts";

/** As the page holds them until they are saved. */
type EditedAlerts = Omit<AlertSettings, "webhooks"> & { webhooks: EditedWebhook[] };

export default function SettingsPage() {
  const providers = useEdited<Settings>("/api/settings");
  const alerts = useEdited<EditedAlerts>("/api/alerts/settings");
  const adapters = useLoad<Schemas["Adapters"]>("/api/adapters");
  const save = useAction(async () => {
    await providers.save();
    await alerts.save();
    say("The settings were saved.");
  });
  const changed = providers.changed || alerts.changed;
  const { value: settings } = providers;
  const { value: rules } = alerts;
  return (
    <form class="stack" onSubmit={(e) => { e.preventDefault(); if (!save.busy) void save.run(); }}>
      <Head title="Settings" about="They take effect at once, without a restart. What is not here stands in the configuration file." />
      <LoadError error={providers.error ?? alerts.error ?? adapters.error} retry={() => { providers.reload(); alerts.reload(); adapters.reload(); }} />
      {settings ? <Providers approved={settings.approved_providers} adapters={adapters.data?.adapters ?? []} onChange={(approved_providers) => providers.set({ ...settings, approved_providers })} /> : null}
      {rules ? (
        <>
          <AlertRules rules={rules.rules} onChange={(next) => alerts.set({ ...rules, rules: next })} />
          <Webhooks webhooks={rules.webhooks} rules={Object.keys(rules.rules) as AlertRule[]} changed={changed} onChange={(webhooks) => alerts.set({ ...rules, webhooks })} />
        </>
      ) : null}
      <FormError error={save.error} />
      <div class={`save-bar${changed ? " changed" : ""}`}>
        <span class="quiet grow" role="status">{changed ? "There are changes that are not saved." : "All is saved."}</span>
        <button type="button" disabled={!changed || save.busy} onClick={() => { providers.undo(); alerts.undo(); }}>Undo</button>
        <button type="submit" class="primary" disabled={!changed || save.busy}>{save.busy ? "Saving" : "Save"}</button>
      </div>
    </form>
  );
}

/** What is stored at `path`, and what it is changed to until it is saved. */
function useEdited<T>(path: string) {
  const { data, error, reload } = useLoad<T>(path);
  const [value, set] = useState<T | undefined>(undefined);
  const [stored, setStored] = useState<T | undefined>(undefined);
  useEffect(() => {
    set(data);
    setStored(data);
  }, [data]);
  const changed = value !== undefined && JSON.stringify(value) !== JSON.stringify(stored);
  const save = async () => {
    if (!changed) return;
    await api.put(path, value);
    // Asked for anew: numbers of new webhooks, and secrets that are now kept.
    reload();
  };
  return { value, set, error, reload, changed, save, undo: () => set(stored) };
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
