// Who may sign in, and what they may do. Tokens of all users stand on the second tab.

import { useState } from "preact/hooks";
import { api, part } from "../api.ts";
import { words } from "../format.ts";
import { say } from "../notices.ts";
import { AuditLog } from "../parts/audit.tsx";
import { Badge } from "../parts/badge.tsx";
import { Confirm } from "../parts/dialog.tsx";
import { LoadError } from "../parts/notice.tsx";
import { Head, Panel } from "../parts/panel.tsx";
import { Table } from "../parts/table.tsx";
import type { Column } from "../parts/table.tsx";
import { Tabs, currentTab } from "../parts/tabs.tsx";
import { Ago } from "../parts/time.tsx";
import { TokenList } from "../parts/tokens.tsx";
import { UserForm } from "../parts/user-form.tsx";
import type { Schemas, User } from "../types.ts";
import { useLoad } from "../use.ts";
import { user } from "../viewer.ts";

const TABS = [["users", "Users"], ["tokens", "Tokens"], ["audit", "Audit log"]] as const;
type Asked = { what: "edit" | "delete"; who: User } | { what: "new" } | null;

export default function Users() {
  const { data, error, loading, reload } = useLoad<Schemas["Users"]>("/api/users");
  const [asked, setAsked] = useState<Asked>(null);
  const tab = currentTab(TABS);
  const close = () => setAsked(null);
  return (
    <div>
      <Head title="Users and tokens" about="Users sign in here; tokens are for programs.">
        <button type="button" class="primary" onClick={() => setAsked({ what: "new" })}>Add a user</button>
      </Head>
      <Tabs label="Users and tokens" tabs={TABS} />
      <div role="tabpanel" aria-labelledby={`tab-${tab}`}>
        {tab === "tokens" ? <TokenList all /> : tab === "audit" ? <AuditLog users={(data?.users ?? []).map((one) => one.name)} /> : (
          <Panel flush>
            <LoadError error={error} stale={!!data} retry={reload} />
            <Table caption="Users" columns={columns(setAsked)} rows={data?.users ?? []} rowKey={(one) => one.name} loading={loading} minWidth="860px" />
          </Panel>
        )}
      </div>
      {asked?.what === "new" || asked?.what === "edit" ? <UserForm existing={asked.what === "edit" ? asked.who : null} onClose={close} onSaved={reload} /> : null}
      {asked?.what === "delete" ? (
        <Confirm title={`Delete ${asked.who.name}`} action="Delete the user" danger typed={asked.who.name} onClose={close} onConfirm={async () => {
          await api.delete(`/api/users/${part(asked.who.name)}`);
          say(`${asked.who.name} was deleted.`);
          reload();
        }}>
          <p>Their sessions end and their tokens stop working at once. To keep the account but close it, disable it instead.</p>
        </Confirm>
      ) : null}
    </div>
  );
}

function columns(ask: (asked: Asked) => void): Column<User>[] {
  return [
    { title: "Name", heading: true, cell: (one) => <>{one.name}{one.name === user()?.name ? <> <span class="tag">you</span></> : null}</> },
    { title: "Role", cell: (one) => <>{words(one.role)}{one.role === "staff" && one.permissions.length ? <span class="sub">{one.permissions.join(", ")}</span> : null}</> },
    { title: "State", width: "110px", cell: (one) => <Badge state={one.disabled ? "disabled" : "enabled"} tone={one.disabled ? "mute" : "good"} /> },
    { title: "Second factor", width: "124px", cell: (one) => (one.totp ? "on" : <span class="quiet">off</span>) },
    { title: "Sources", cell: (one) => (one.sources ? one.sources.join(", ") || "none" : <span class="quiet">all</span>) },
    { title: "Signed in", width: "108px", cell: (one) => <Ago at={one.last_signed_in_at} /> },
    {
      title: "", width: "150px", numeric: true,
      cell: (one) => (
        <span class="cell-actions">
          <button type="button" class="small" aria-label={`Edit ${one.name}`} onClick={() => ask({ what: "edit", who: one })}>Edit</button>
          {one.name === user()?.name ? null : <button type="button" class="small danger" aria-label={`Delete ${one.name}`} onClick={() => ask({ what: "delete", who: one })}>Delete</button>}
        </span>
      ),
    },
  ];
}
