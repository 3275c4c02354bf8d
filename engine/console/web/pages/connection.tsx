// One connection: how it is, its settings, what happened to it, its data.

import { useEffect, useState } from "preact/hooks";
import { api, part, sentence } from "../api.ts";
import { say } from "../notices.ts";
import { Badge } from "../parts/badge.tsx";
import { ConnectionData } from "../parts/connection/data.tsx";
import { DeleteConnection } from "../parts/connection/delete.tsx";
import { ConnectionForm } from "../parts/connection/form.tsx";
import { ConnectionLogs } from "../parts/connection/logs.tsx";
import { Overview } from "../parts/connection/overview.tsx";
import { TestOutcome } from "../parts/connection/test.tsx";
import { Empty } from "../parts/empty.tsx";
import { FormError, LoadError, Notice } from "../parts/notice.tsx";
import { Head } from "../parts/panel.tsx";
import { Tabs, currentTab } from "../parts/tabs.tsx";
import { navigate, setQuery } from "../router.ts";
import type { PageProps } from "../routes.ts";
import type { Adapter, Connection, Schemas, TestResult } from "../types.ts";
import { useAction, useLoad } from "../use.ts";
import { mayChange } from "../viewer.ts";

export default function ConnectionPage({ params }: PageProps) {
  const path = `/api/data-connections/${part(params.name!)}`;
  const { data: one, error, reload } = useLoad<Connection>(path, {}, 2000);
  const adapters = useLoad<Schemas["Adapters"]>("/api/adapters");
  if (!one) {
    if (error?.status === 404) {
      return <Empty title="There is no such connection" heading action={<a class="button" href="/connections">All connections</a>}>Or it is another's.</Empty>;
    }
    return error ? <LoadError error={error} retry={reload} /> : <p class="quiet" aria-busy="true">Loading</p>;
  }
  const adapter = adapters.data?.adapters.find((each) => each.adapter === one.adapter);
  const change = mayChange(one);
  const tabs = [["overview", "Overview"], ...(change ? [["edit", "Edit"] as const] : []), ["logs", "Logs"], ["data", "Data"]] as const;
  const tab = currentTab(tabs);
  return (
    <div>
      <ConnectionHead one={one} adapter={adapter} path={path} change={change} reload={reload} />
      <LoadError error={error} stale retry={reload} />
      <Tabs label="Parts of the connection" tabs={tabs} />
      <div role="tabpanel" aria-labelledby={`tab-${tab}`}>
        {tab === "edit" && adapters.data ? (
          <ConnectionForm key={one.name} adapters={adapters.data.adapters} existing={one} onSaved={(saved) => {
            say(saved.is_active ? `${saved.name} was saved; the running engine has taken it over.` : `${saved.name} was saved.`);
            setQuery({ tab: null });
            reload();
          }} />
        ) : null}
        {tab === "edit" ? <LoadError error={adapters.error} retry={adapters.reload} /> : null}
        {tab === "logs" ? <ConnectionLogs path={path} /> : null}
        {tab === "data" ? <ConnectionData one={one} adapter={adapter} path={path} change={change} /> : null}
        {tab === "overview" ? <Overview one={one} adapter={adapter} path={path} /> : null}
      </div>
    </div>
  );
}

function ConnectionHead({ one, adapter, path, change, reload }: { one: Connection; adapter: Adapter | undefined; path: string; change: boolean; reload: () => void }) {
  const [deleting, setDeleting] = useState(false);
  const [result, setResult] = useState<TestResult | null>(null);
  // What was tried with other settings says nothing of these.
  useEffect(() => setResult(null), [one.changed_at]);
  const test = useAction(async () => {
    setResult(null);
    setResult(await api.post<TestResult>(`${path}/test`));
  });
  const toggle = useAction(async () => {
    const { changes } = await api.post<Schemas["ChangeDone"]>(`${path}/${one.is_active ? "deactivate" : "activate"}`);
    for (const change of changes.length ? changes : [`${one.name} was ${one.is_active ? "deactivated" : "activated"}.`]) say(sentence(change));
    reload();
  });
  return (
    <>
      <Head title={one.name} badge={<Badge state={one.status} />} about={[adapter?.title ?? one.adapter, one.provider, one.owner ? `private to ${one.owner}` : "shared"].filter(Boolean).join(", ")}>
        {change ? (
          <>
            <button type="button" disabled={test.busy} onClick={() => void test.run()}>{test.busy ? "Testing" : "Test"}</button>
            <button type="button" class={one.is_active ? undefined : "primary"} disabled={toggle.busy} onClick={() => void toggle.run()}>
              {one.is_active ? (toggle.busy ? "Deactivating" : "Deactivate") : toggle.busy ? "Activating" : "Activate"}
            </button>
            <button type="button" class="danger" onClick={() => setDeleting(true)}>Delete</button>
          </>
        ) : null}
      </Head>
      <div class="stack tight spaced">
        {one.origin === "configuration" ? <Notice kind="info">This connection stands in the configuration file. It is shown here and changed there.</Notice> : null}
        <FormError error={toggle.error ?? test.error} />
        {test.busy || result ? <TestOutcome result={result} busy={test.busy} /> : null}
      </div>
      {deleting ? (
        <DeleteConnection one={one} onClose={() => setDeleting(false)} onConfirm={async (data) => {
          const { rows_deleted } = await api.delete<Schemas["Removed"]>(path, { data });
          say(data === "delete" ? `${one.name} was deleted, with ${rows_deleted.toLocaleString("en-US")} stored rows.` : `${one.name} was deleted; its stored data stays.`);
          navigate("/connections");
        }} />
      ) : null}
    </>
  );
}

