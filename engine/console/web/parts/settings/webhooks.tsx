// Where alerts are sent: signed, and tried again when the receiver does not answer.

import { useState } from "preact/hooks";
import { api } from "../../api.ts";
import { words } from "../../format.ts";
import type { AlertRule, EditedWebhook, Schemas } from "../../types.ts";
import { useAction } from "../../use.ts";
import { Check, Field } from "../field.tsx";
import { FormError, Notice } from "../notice.tsx";
import { Panel } from "../panel.tsx";
import { Ago } from "../time.tsx";

interface Props {
  webhooks: EditedWebhook[];
  rules: AlertRule[];
  /** Whether the settings have changes that are not saved: a test tries what is saved. */
  changed: boolean;
  onChange: (webhooks: EditedWebhook[]) => void;
}

export function Webhooks({ webhooks, rules, changed, onChange }: Props) {
  const set = (index: number, changes: Partial<EditedWebhook>) => onChange(webhooks.map((hook, at) => (at === index ? { ...hook, ...changes } : hook)));
  return (
    <Panel title="Webhooks" aside={<button type="button" onClick={() => onChange([...webhooks, { url: "", has_secret: false, rules: null, enabled: true }])}>Add a webhook</button>}>
      {webhooks.length === 0 ? <p class="quiet">None. Alerts are shown in the console and counted in <code>/metrics</code>; a webhook also posts them to an address as JSON, signed with HMAC-SHA-256.</p> : null}
      <div class="stack">
        {webhooks.map((hook, index) => (
          <One key={hook.id ?? `new-${index}`} hook={hook} rules={rules} changed={changed} onChange={(changes) => set(index, changes)} onRemove={() => onChange(webhooks.filter((_, at) => at !== index))} />
        ))}
      </div>
    </Panel>
  );
}

function One({ hook, rules, changed, onChange, onRemove }: { hook: EditedWebhook; rules: AlertRule[]; changed: boolean; onChange: (changes: Partial<EditedWebhook>) => void; onRemove: () => void }) {
  const [result, setResult] = useState<Schemas["Tried"] | null>(null);
  const test = useAction(async () => {
    setResult(null);
    setResult(await api.post<Schemas["Tried"]>(`/api/alerts/webhooks/${hook.id}/test`));
  });
  const last = hook.last_delivery;
  return (
    <div class="card stack">
      <div class="form-grid">
        <Field label="Address">
          {(props) => <input {...props} type="url" required placeholder="https://" value={hook.url} onInput={(e) => onChange({ url: e.currentTarget.value })} />}
        </Field>
        <Field label="Secret to sign with" optional={!hook.has_secret} help="16 characters or more. The receiver checks the signature with it.">
          {(props) => <input {...props} type="password" autocomplete="new-password" placeholder={hook.has_secret ? "Stored; leave empty to keep it" : undefined} value={hook.secret ?? ""} onInput={(e) => {
            const secret = e.currentTarget.value;
            onChange({ secret: secret || undefined });
          }} />}
        </Field>
      </div>
      <div class="checks">
        <Check label="On" checked={hook.enabled} onChange={(enabled) => onChange({ enabled })} />
        <Check label="All rules" checked={hook.rules === null} onChange={(all) => onChange({ rules: all ? null : rules })} />
      </div>
      {hook.rules ? (
        <fieldset>
          <legend>Rules that are sent</legend>
          <div class="checks">
            {rules.map((rule) => <Check key={rule} label={words(rule)} checked={hook.rules!.includes(rule)} onChange={(on) => onChange({ rules: on ? [...hook.rules!, rule] : hook.rules!.filter((one) => one !== rule) })} />)}
          </div>
        </fieldset>
      ) : null}
      <FormError error={test.error} />
      {result ? <Notice kind={result.succeeded ? "good" : "bad"}>{result.succeeded ? `The receiver answered ${result.status}.` : (result.error ?? "It was not delivered.")}</Notice> : null}
      <div class="row between">
        <span class="quiet">{last ? <>Last delivery <Ago at={last.at} />: {last.error ?? `answered ${last.status}`}</> : "Nothing sent yet."}</span>
        <span class="row">
          {hook.id !== undefined ? <button type="button" class="small" disabled={test.busy || changed} title={changed ? "Save first: a test tries what is saved" : undefined} onClick={() => void test.run()}>{test.busy ? "Sending" : "Send a test"}</button> : null}
          <button type="button" class="small danger" aria-label={`Remove ${hook.url || "this webhook"}`} onClick={onRemove}>Remove</button>
        </span>
      </div>
    </div>
  );
}
