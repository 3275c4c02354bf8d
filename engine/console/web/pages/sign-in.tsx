// Sign-in: name and password, then the second factor where the account has one.

import { useEffect, useRef, useState } from "preact/hooks";
import { api, firstRunPending, session } from "../api.ts";
import { Empty } from "../parts/empty.tsx";
import { Field, errorOf } from "../parts/field.tsx";
import { Mark } from "../parts/icon.tsx";
import { FormError } from "../parts/notice.tsx";
import type { Schemas, Session } from "../types.ts";
import { useAction } from "../use.ts";

export default function SignIn() {
  if (firstRunPending.value) {
    return (
      <div class="sign">
        <span class="brand"><Mark size={34} />Tickwire</span>
        <section class="panel">
          <h1 class="hidden">Sign in</h1>
          <Empty title="No administrator yet">
            The engine printed a link when it started, ending in <code>/first-run#…</code>. Open that link to create the first
            administrator. It works once; restarting the engine prints another.
          </Empty>
        </section>
      </div>
    );
  }
  return (
    <div class="sign">
      <span class="brand"><Mark size={34} />Tickwire</span>
      <section class="panel"><Form /></section>
    </div>
  );
}

function Form() {
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const [code, setCode] = useState("");
  const [asksCode, setAsksCode] = useState(false);
  const codeInput = useRef<HTMLInputElement>(null);
  const action = useAction(async () => {
    session.value = await api.post<Session>("/api/session", { name, password, ...(asksCode ? { code: code.trim() } : {}) } satisfies Schemas["SignInBody"]);
  });
  const needsCode = action.error?.code === "totp_required";
  useEffect(() => {
    if (needsCode) setAsksCode(true);
  }, [needsCode]);
  useEffect(() => {
    if (asksCode) codeInput.current?.focus();
  }, [asksCode]);
  const submit = (event: Event) => {
    event.preventDefault();
    if (!action.busy) void action.run();
  };
  const fields = ["name", "password", "code"];
  return (
    <form class="stack" onSubmit={submit} aria-busy={action.busy}>
      <h1>Sign in</h1>
      <Field label="Name" error={errorOf(action.error, "name")}>
        {(props) => <input {...props} name="name" autocomplete="username" autocapitalize="none" spellcheck={false} autofocus required value={name} onInput={(e) => setName(e.currentTarget.value)} />}
      </Field>
      <Field label="Password" error={errorOf(action.error, "password")}>
        {(props) => <input {...props} name="password" type="password" autocomplete="current-password" required value={password} onInput={(e) => setPassword(e.currentTarget.value)} />}
      </Field>
      {asksCode ? (
        <Field label="Code of your authenticator" help="Six digits, from the app you set up." error={errorOf(action.error, "code")}>
          {(props) => <input {...props} ref={codeInput} name="code" inputMode="numeric" autocomplete="one-time-code" pattern="[0-9 ]{6,7}" required value={code} onInput={(e) => setCode(e.currentTarget.value)} />}
        </Field>
      ) : null}
      {needsCode && !code ? null : <FormError error={action.error} fields={fields} />}
      <button type="submit" class="primary" disabled={action.busy}>{action.busy ? "Signing in" : "Sign in"}</button>
    </form>
  );
}
