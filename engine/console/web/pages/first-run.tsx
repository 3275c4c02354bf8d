// The first administrator, created by the link that the engine printed. The token stands behind the `#`, so it is in no
// request line and no log.

import { useState } from "preact/hooks";
import { api, firstRunPending, session } from "../api.ts";
import { Field, errorOf } from "../parts/field.tsx";
import { Mark } from "../parts/icon.tsx";
import { FormError, Notice } from "../parts/notice.tsx";
import { navigate, place } from "../router.ts";
import type { Schemas, Session } from "../types.ts";
import { useAction } from "../use.ts";

export default function FirstRun() {
  const [token] = useState(() => decodeURIComponent(place.value.hash.slice(1)));
  const [name, setName] = useState("admin");
  const [password, setPassword] = useState("");
  const [again, setAgain] = useState("");
  const action = useAction(async () => {
    session.value = await api.post<Session>("/api/first-run", { token, name, password } satisfies Schemas["FirstRunBody"]);
    firstRunPending.value = false;
    navigate("/", { replace: true });
  });
  const differs = again !== "" && again !== password;
  const submit = (event: Event) => {
    event.preventDefault();
    if (!action.busy && again === password) void action.run();
  };
  return (
    <div class="sign">
      <span class="brand"><Mark size={34} />Tickwire</span>
      <section class="panel">
        <form class="stack" onSubmit={submit}>
          <div>
            <h1>Create the first administrator</h1>
            <p class="quiet">This account may do everything: connect venues, add users, change settings.</p>
          </div>
          {token ? null : <Notice kind="bad">The link is not whole: what follows <code>#</code> is missing. Copy it again from where the engine printed it.</Notice>}
          <Field label="Name" error={errorOf(action.error, "name")}>
            {(props) => <input {...props} name="name" autocomplete="username" autocapitalize="none" spellcheck={false} required value={name} onInput={(e) => setName(e.currentTarget.value)} />}
          </Field>
          <Field label="Password" help="At least 12 characters. A few words are easier to keep than a few signs." error={errorOf(action.error, "password")}>
            {(props) => <input {...props} name="password" type="password" autocomplete="new-password" required value={password} onInput={(e) => setPassword(e.currentTarget.value)} />}
          </Field>
          <Field label="Password once more" error={differs ? "The two passwords differ." : null}>
            {(props) => <input {...props} name="again" type="password" autocomplete="new-password" required value={again} onInput={(e) => setAgain(e.currentTarget.value)} />}
          </Field>
          <FormError error={action.error} fields={["name", "password"]} />
          <button type="submit" class="primary" disabled={action.busy || !token || differs}>{action.busy ? "Creating" : "Create and sign in"}</button>
        </form>
      </section>
    </div>
  );
}
