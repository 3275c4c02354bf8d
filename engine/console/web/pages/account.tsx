// Your own account: password, second factor, tokens.

import { useState } from "preact/hooks";
import { api, loadSession, session } from "../api.ts";
import { words } from "../format.ts";
import { say } from "../notices.ts";
import { setTheme, setZone, theme, zone } from "../prefs.ts";
import type { Theme, Zone } from "../prefs.ts";
import { Badge } from "../parts/badge.tsx";
import { CopyBox } from "../parts/copy.tsx";
import { Dialog } from "../parts/dialog.tsx";
import { Field, Segments, errorOf } from "../parts/field.tsx";
import { FormError } from "../parts/notice.tsx";
import { Facts, Head, Panel } from "../parts/panel.tsx";
import { QrCode } from "../parts/qr.tsx";
import { When } from "../parts/time.tsx";
import { TokenList } from "../parts/tokens.tsx";
import type { Schemas } from "../types.ts";
import { useAction } from "../use.ts";
import { mayWrite, user } from "../viewer.ts";

export default function AccountPage() {
  const who = user();
  if (!who) return null;
  return (
    <div class="stack">
      <Head title="Your account" about={`Signed in as ${who.name}.`} />
      <div class="columns even">
        <div class="stack">
          <Panel title="Account">
            <Facts facts={[
              ["Name", who.name],
              ["Role", words(who.role)],
              ["Permissions", who.role === "administrator" ? "all" : who.permissions.join(", ") || "none"],
              ["Shared sources", who.sources ? who.sources.join(", ") || "none" : "all"],
              ["Since", <When at={who.created_at} only="date" />],
              ["Session ends", <When at={session.value?.expires_at ?? null} />],
            ]} />
          </Panel>
          <Panel title="This browser">
            <div class="stack">
              <div class="row between"><span>Theme</span><Segments<Theme> label="Theme" value={theme.value} onChange={setTheme} options={[["system", "System"], ["light", "Light"], ["dark", "Dark"]]} /></div>
              <div class="row between"><span>Times in</span><Segments<Zone> label="Times in" value={zone.value} onChange={setZone} options={[["UTC", "UTC"], ["America/New_York", "New York"]]} /></div>
            </div>
          </Panel>
          {mayWrite() ? <SecondFactor on={who.totp} /> : null}
        </div>
        {mayWrite() ? <Password /> : null}
      </div>
      {mayWrite() ? <TokenList /> : null}
    </div>
  );
}

function Password() {
  const [current, setCurrent] = useState("");
  const [wanted, setWanted] = useState("");
  const [again, setAgain] = useState("");
  const change = useAction(async () => {
    await api.post("/api/session/password", { current, new: wanted } satisfies Schemas["PasswordBody"]);
    setCurrent("");
    setWanted("");
    setAgain("");
    say("Your password was changed. Your other sessions have ended.");
  });
  const differs = again !== "" && again !== wanted;
  return (
    <Panel title="Password">
      <form class="stack" onSubmit={(e) => { e.preventDefault(); if (!change.busy && wanted === again) void change.run(); }}>
        <input class="hidden" type="text" autocomplete="username" value={user()?.name} readOnly tabIndex={-1} aria-hidden="true" />
        <Field label="Current password" error={errorOf(change.error, "current")}>
          {(props) => <input {...props} type="password" autocomplete="current-password" required value={current} onInput={(e) => setCurrent(e.currentTarget.value)} />}
        </Field>
        <Field label="New password" help="At least 12 characters." error={errorOf(change.error, "new")}>
          {(props) => <input {...props} type="password" autocomplete="new-password" required value={wanted} onInput={(e) => setWanted(e.currentTarget.value)} />}
        </Field>
        <Field label="New password once more" error={differs ? "The two passwords differ." : null}>
          {(props) => <input {...props} type="password" autocomplete="new-password" required value={again} onInput={(e) => setAgain(e.currentTarget.value)} />}
        </Field>
        <FormError error={change.error} fields={["current", "new"]} />
        <div class="row"><button type="submit" class="primary" disabled={change.busy || differs}>{change.busy ? "Changing" : "Change the password"}</button></div>
      </form>
    </Panel>
  );
}

function SecondFactor({ on }: { on: boolean }) {
  const [asked, setAsked] = useState<"on" | "off" | null>(null);
  return (
    <Panel title="Second factor" aside={<Badge state={on ? "on" : "off"} tone={on ? "good" : "mute"} />}>
      <div class="stack tight">
        <p class="quiet">{on ? "Signing in asks for a code of your authenticator app as well." : "With a second factor, a stolen password alone opens nothing."}</p>
        <div class="row"><button type="button" onClick={() => setAsked(on ? "off" : "on")}>{on ? "Switch off" : "Set up"}</button></div>
      </div>
      {asked ? <FactorDialog turn={asked} onClose={() => setAsked(null)} /> : null}
    </Panel>
  );
}

function FactorDialog({ turn, onClose }: { turn: "on" | "off"; onClose: () => void }) {
  const [password, setPassword] = useState("");
  const [offer, setOffer] = useState<Schemas["EnrolmentView"] | null>(null);
  const [code, setCode] = useState("");
  const act = useAction(async () => {
    if (turn === "off") await api.delete("/api/session/totp", {}, { password } satisfies Schemas["AgainBody"]);
    else if (!offer) return setOffer(await api.post<Schemas["EnrolmentView"]>("/api/session/totp", { password } satisfies Schemas["AgainBody"]));
    else await api.put("/api/session/totp", { code: code.replaceAll(" ", "") } satisfies Schemas["CodeBody"]);
    await loadSession();
    say(turn === "on" ? "The second factor is on." : "The second factor is off.");
    onClose();
  });
  return (
    <Dialog title={turn === "on" ? "Set up a second factor" : "Switch the second factor off"} onClose={onClose}>
      <form class="stack" onSubmit={(e) => { e.preventDefault(); if (!act.busy) void act.run(); }}>
        {offer ? (
          <>
            <p>Scan this with an authenticator app, or type the key into it.</p>
            <QrCode text={offer.uri} label="The key as a picture; the same key stands below as text" />
            <CopyBox text={offer.secret} label="key" />
            <Field label="Code that the app shows" error={errorOf(act.error, "code")}>
              {(props) => <input {...props} inputMode="numeric" autocomplete="one-time-code" pattern="[0-9 ]{6,7}" required value={code} onInput={(e) => setCode(e.currentTarget.value)} />}
            </Field>
          </>
        ) : (
          <Field label="Your password" error={errorOf(act.error, "password")}>
            {(props) => <input {...props} type="password" autocomplete="current-password" required value={password} onInput={(e) => setPassword(e.currentTarget.value)} />}
          </Field>
        )}
        <FormError error={act.error} fields={["password", "code"]} />
        <footer class="row end">
          <button type="button" onClick={onClose}>Cancel</button>
          <button type="submit" class="primary" disabled={act.busy}>{act.busy ? "Working" : turn === "off" ? "Switch off" : offer ? "Switch on" : "Go on"}</button>
        </footer>
      </form>
    </Dialog>
  );
}
