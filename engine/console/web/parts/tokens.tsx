// Tokens for programs. A token is shown once, when it is made.

import { useState } from "preact/hooks";
import { api } from "../api.ts";
import { say } from "../notices.ts";
import { date } from "../time.ts";
import type { Schemas, Scope, Token } from "../types.ts";
import { useAction, useLoad } from "../use.ts";
import { mayWrite, user } from "../viewer.ts";
import { CopyBox } from "./copy.tsx";
import { Confirm, Dialog } from "./dialog.tsx";
import { Empty } from "./empty.tsx";
import { Check, Field, errorOf } from "./field.tsx";
import { FormError, LoadError, Notice } from "./notice.tsx";
import { Panel } from "./panel.tsx";
import { Table } from "./table.tsx";
import type { Column } from "./table.tsx";
import { Ago, When } from "./time.tsx";

const SCOPES: [Scope, string, string][] = [
  ["read", "Read", "The JSON API, reading."],
  ["write", "Write", "The JSON API, changing what its user may change."],
  ["stream", "Stream", "Live prices over QUIC, for terminals."],
];

/** Tokens of the viewer, or of everybody. */
export function TokenList({ all }: { all?: boolean }) {
  const { data, error, loading, reload } = useLoad<Schemas["Tokens"]>("/api/tokens");
  const [making, setMaking] = useState(false);
  const [revoking, setRevoking] = useState<Token | null>(null);
  const rows = (data?.tokens ?? []).filter((token) => all || token.user === user()?.name);
  const make = mayWrite() ? <button type="button" onClick={() => setMaking(true)}>Make a token</button> : null;
  return (
    <Panel flush title={all ? "Tokens of all users" : "Your tokens"} aside={make}>
      <LoadError error={error} stale={!!data} retry={reload} />
      <Table
        caption="Tokens"
        columns={columns(!!all, setRevoking)}
        rows={rows}
        rowKey={(token) => token.id}
        loading={loading}
        minWidth="700px"
        empty={error ? null : <Empty title="No tokens">{mayWrite() ? "Make one for each program that reads the API or streams prices." : "A demo account has none."}</Empty>}
      />
      {making ? <MakeToken onClose={() => setMaking(false)} onMade={reload} /> : null}
      {revoking ? (
        <Confirm title={`Revoke ${revoking.name}`} action="Revoke" danger onClose={() => setRevoking(null)} onConfirm={async () => {
          await api.delete(`/api/tokens/${revoking.id}`);
          say(`The token ${revoking.name} was revoked.`);
          reload();
        }}>
          <p>Programs that use it are refused from now on.</p>
        </Confirm>
      ) : null}
    </Panel>
  );
}

function columns(all: boolean, revoke: (token: Token) => void): Column<Token>[] {
  const list: Column<Token>[] = [
    { title: "Name", heading: true, cell: (token) => token.name },
    { title: "User", cell: (token) => token.user },
    { title: "Scopes", cell: (token) => <span class="row">{token.scopes.map((scope) => <span class="tag" key={scope}>{scope}</span>)}</span> },
    { title: "Made", width: "118px", cell: (token) => <When at={token.created_at} only="date" /> },
    { title: "Last used", width: "108px", cell: (token) => <Ago at={token.last_used_at} /> },
    { title: "Ends", width: "118px", cell: (token) => (token.expires_at ? <When at={token.expires_at} only="date" /> : <span class="quiet">never</span>) },
    { title: "", width: "110px", numeric: true, cell: (token) => (mayWrite() ? <button type="button" class="small danger" aria-label={`Revoke ${token.name}`} onClick={() => revoke(token)}>Revoke</button> : null) },
  ];
  return all ? list : list.filter((column) => column.title !== "User");
}

function MakeToken({ onClose, onMade }: { onClose: () => void; onMade: () => void }) {
  const [name, setName] = useState("");
  const [scopes, setScopes] = useState<Scope[]>(["read"]);
  const [ends, setEnds] = useState("");
  const [made, setMade] = useState<string | null>(null);
  const make = useAction(async () => {
    const answer = await api.post<Schemas["NewToken"]>("/api/tokens", { name, scopes, expires_at: ends ? `${ends}T00:00:00Z` : null });
    setMade(answer.token);
    onMade();
  });
  if (made) {
    return (
      <Dialog title="Your new token" onClose={onClose}>
        <Notice kind="warn">It is shown this once. The engine keeps only its hash.</Notice>
        <CopyBox text={made} label="token" />
        <footer class="row end"><button type="button" class="primary" onClick={onClose}>Done</button></footer>
      </Dialog>
    );
  }
  return (
    <Dialog title="Make a token" onClose={onClose}>
      <form class="stack" onSubmit={(e) => { e.preventDefault(); if (!make.busy) void make.run(); }}>
        <Field label="Name" help="What it is for, so that you know which one to revoke." error={errorOf(make.error, "name")}>
          {(props) => <input {...props} required autocomplete="off" value={name} onInput={(e) => setName(e.currentTarget.value)} />}
        </Field>
        <fieldset class="stack tight">
          <legend>Scopes</legend>
          {SCOPES.map(([scope, label, help]) => (
            <Check key={scope} label={label} help={help} checked={scopes.includes(scope)} onChange={(on) => setScopes(on ? [...scopes, scope] : scopes.filter((each) => each !== scope))} />
          ))}
          {errorOf(make.error, "scopes") ? <p class="error" role="alert">{errorOf(make.error, "scopes")}</p> : null}
        </fieldset>
        <Field label="Ends" optional error={errorOf(make.error, "expires_at")}>
          {(props) => <input {...props} type="date" min={date(Date.now() / 1000 + 86400, "UTC")} value={ends} onInput={(e) => setEnds(e.currentTarget.value)} />}
        </Field>
        <FormError error={make.error} fields={["name", "scopes", "expires_at"]} />
        <footer class="row end">
          <button type="button" onClick={onClose}>Cancel</button>
          <button type="submit" class="primary" disabled={make.busy || scopes.length === 0}>{make.busy ? "Making" : "Make"}</button>
        </footer>
      </form>
    </Dialog>
  );
}
