// A user: role, permissions, sources, password.

import { useState } from "preact/hooks";
import { api, part } from "../api.ts";
import { say } from "../notices.ts";
import type { Permission, Role, Schemas, User } from "../types.ts";
import { useAction } from "../use.ts";
import { user } from "../viewer.ts";
import { Dialog } from "./dialog.tsx";
import { Check, Field, Select, errorOf } from "./field.tsx";
import { FormError } from "./notice.tsx";

const ROLES: [Role, string][] = [["administrator", "Administrator"], ["staff", "Staff"], ["user", "User"], ["demo", "Demo"]];
const ABOUT: Record<Role, string> = {
  administrator: "May do everything.",
  staff: "May do what is ticked below.",
  user: "Has connections of their own, and reads the shared sources below.",
  demo: "Sees what a user sees and changes nothing.",
};
const PERMISSIONS: [Permission, string][] = [
  ["manage-data-connections", "Add, change and remove all data connections"],
  ["manage-users", "Manage users and their tokens"],
  ["manage-jobs", "Start and cancel all jobs"],
  ["manage-settings", "Change settings, alert rules and webhooks"],
  ["view-system", "See storage, pipeline and terminals"],
];

export function UserForm({ existing, onClose, onSaved }: { existing: User | null; onClose: () => void; onSaved: () => void }) {
  const [name, setName] = useState(existing?.name ?? "");
  const [password, setPassword] = useState("");
  const [role, setRole] = useState<Role>(existing?.role ?? "user");
  const [permissions, setPermissions] = useState<Permission[]>(existing?.role === "staff" ? existing.permissions : []);
  const [limited, setLimited] = useState(existing ? existing.sources !== null : false);
  const [sources, setSources] = useState(existing?.sources?.join(", ") ?? "");
  const [disabled, setDisabled] = useState(existing?.disabled ?? false);
  const [dropFactor, setDropFactor] = useState(false);
  const own = existing?.name === user()?.name;
  const save = useAction(async () => {
    const shared = {
      role,
      permissions: role === "staff" ? permissions : [],
      sources: limited ? sources.split(/[\s,]+/).filter(Boolean) : null,
    };
    if (existing) {
      await api.patch<User>(`/api/users/${part(existing.name)}`, {
        ...(own ? { sources: shared.sources } : { ...shared, disabled }),
        ...(password ? { password } : {}),
        ...(dropFactor ? { totp: false } : {}),
      } satisfies Schemas["ChangeBody"]);
      say(`${existing.name} was saved.`);
    } else {
      const made = await api.post<User>("/api/users", { name, password, ...shared } satisfies Schemas["NewUserBody"]);
      say(`${made.name} was added. Hand them the password by a safe way.`);
    }
    onSaved();
    onClose();
  });
  const fields = ["name", "password", "role", "permissions", "sources"];
  return (
    <Dialog title={existing ? `Edit ${existing.name}` : "Add a user"} onClose={onClose}>
      <form class="stack" onSubmit={(e) => { e.preventDefault(); if (!save.busy) void save.run(); }}>
        {existing ? null : (
          <Field label="Name" error={errorOf(save.error, "name")}>
            {(props) => <input {...props} required autocomplete="off" autocapitalize="none" spellcheck={false} value={name} onInput={(e) => setName(e.currentTarget.value)} />}
          </Field>
        )}
        <Field label={existing ? "New password" : "Password"} optional={!!existing} help={existing ? "Empty keeps the old one. A new one ends their sessions." : "At least 12 characters; they can change it."} error={errorOf(save.error, "password")}>
          {(props) => <input {...props} type="password" autocomplete="new-password" required={!existing} value={password} onInput={(e) => setPassword(e.currentTarget.value)} />}
        </Field>
        {own ? <p class="quiet">Your own role cannot be changed by yourself.</p> : (
          <>
            <div>
              <Select<Role> label="Role" value={role} onChange={setRole} options={ROLES} />
              <p class="help">{ABOUT[role]}</p>
            </div>
            {role === "staff" ? (
              <fieldset class="stack tight">
                <legend>Permissions</legend>
                {PERMISSIONS.map(([permission, label]) => (
                  <Check key={permission} label={label} checked={permissions.includes(permission)} onChange={(on) => setPermissions(on ? [...permissions, permission] : permissions.filter((each) => each !== permission))} />
                ))}
              </fieldset>
            ) : null}
          </>
        )}
        <fieldset class="stack tight">
          <legend>Shared sources they may read</legend>
          <Check label="Only some" help="Otherwise all, also those added later." checked={limited} onChange={setLimited} />
          {limited ? (
            <Field label="Names" help="Separated by commas; * stands for anything, as in oanda-*." error={errorOf(save.error, "sources")}>
              {(props) => <input {...props} autocomplete="off" spellcheck={false} value={sources} onInput={(e) => setSources(e.currentTarget.value)} />}
            </Field>
          ) : null}
        </fieldset>
        {existing && !own ? <Check label="Disabled" help="They cannot sign in, and their tokens do not work." checked={disabled} onChange={setDisabled} /> : null}
        {existing?.totp ? <Check label="Switch their second factor off" help="When they have lost the device. They can set up another." checked={dropFactor} onChange={setDropFactor} /> : null}
        <FormError error={save.error} fields={fields} />
        <footer class="row end">
          <button type="button" onClick={onClose}>Cancel</button>
          <button type="submit" class="primary" disabled={save.busy}>{save.busy ? "Saving" : existing ? "Save" : "Add"}</button>
        </footer>
      </form>
    </Dialog>
  );
}
