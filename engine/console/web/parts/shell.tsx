// What stands around every page: the menu, the engine's state, the clock, whoever is signed in.

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { asError, awaySince, session, signOut } from "../api.ts";
import { UNNAMED } from "../format.ts";
import { say } from "../notices.ts";
import { setTheme, setZone, shownTheme, theme, zone, zoneWord } from "../prefs.ts";
import { navigate, place } from "../router.ts";
import { routes } from "../routes.ts";
import type { Status } from "../types.ts";
import { dateTime, span } from "../time.ts";
import { useLoad, useNow } from "../use.ts";
import { may } from "../viewer.ts";
import { Dialog } from "./dialog.tsx";
import { Icon, Mark } from "./icon.tsx";
import { Popover } from "./popover.tsx";

export function Shell({ children }: { children: ComponentChildren }) {
  const [menu, setMenu] = useState(false);
  return (
    <div class="shell">
      <a class="skip" href="#main" onClick={(e) => { e.preventDefault(); document.getElementById("main")?.focus(); }}>Skip to the page</a>
      <div class="side">
        <div class="side-inner">
          <Menu brand />
        </div>
      </div>
      <header class="top">
        <button type="button" class="bare menu-button" aria-label="Menu" aria-haspopup="dialog" onClick={() => setMenu(true)}><Icon name="menu" size={22} /></button>
        <a class="brand narrow-only" href="/"><Mark size={24} /><span class="hidden">Tickwire</span></a>
        <EngineState />
        <span class="grow" />
        <Clock />
        <ThemeButton />
        <Person />
      </header>
      <main id="main" tabIndex={-1}>
        <Away />
        {children}
      </main>
      <footer class="foot">
        <a href="/docs">Documentation</a>
        <a href="/docs/licences">Licences</a>
        <span>Charts by <a href="https://www.tradingview.com/" target="_blank" rel="noreferrer">TradingView Lightweight Charts™</a></span>
      </footer>
      {menu ? <Dialog title="Tickwire" drawer onClose={() => setMenu(false)}><Menu onGo={() => setMenu(false)} /></Dialog> : null}
    </div>
  );
}

function Menu({ brand, onGo }: { brand?: boolean; onGo?: () => void }) {
  const here = place.value.path;
  const shown = routes.filter((route) => route.menu && (!route.needs || may(route.needs)));
  const groups = [...new Set(shown.map((route) => route.menu!.group))];
  return (
    <nav aria-label="Pages" class="menu">
      {brand ? <a class="brand" href="/"><Mark />Tickwire</a> : null}
      {groups.map((group) => (
        <div key={group}>
          <p class="menu-group" id={`menu-${group}`}>{group}</p>
          <ul aria-labelledby={`menu-${group}`}>
            {shown.filter((route) => route.menu!.group === group).map((route) => {
              const current = route.path === "/" ? here === "/" : here === route.path || here.startsWith(`${route.path}/`);
              return (
                <li key={route.path}>
                  <a href={route.path} aria-current={current ? "page" : undefined} onClick={onGo}><Icon name={route.menu!.icon} />{route.title}</a>
                </li>
              );
            })}
          </ul>
        </div>
      ))}
    </nav>
  );
}

function EngineState() {
  const { data } = useLoad<Status>("/api/status", {}, 5000);
  if (awaySince.value !== null) return <span class="badge bad"><span class="dot" aria-hidden="true" />No answer</span>;
  if (!data) return <span class="badge mute"><span class="dot" aria-hidden="true" />Asking the engine</span>;
  const problems = data.problems.length;
  const tone = data.status === "ok" ? "good" : data.status === "degraded" ? "warn" : "bad";
  const text = data.status === "ok" ? "All well" : data.status === "unavailable" ? (problems ? "Unavailable" : "No prices") : problems === 0 ? "Not all up" : problems === 1 ? "1 problem" : `${problems} problems`;
  return <a class={`badge ${tone}`} href="/" title={data.problems.join("\n") || UNNAMED[data.status]}><span class="dot" aria-hidden="true" />{text}</a>;
}

function Clock() {
  const now = useNow();
  const next = zone.value === "UTC" ? "America/New_York" : "UTC";
  return (
    <button type="button" class="bare clock" title={`Times are shown in ${zoneWord(zone.value)}. Press for ${zoneWord(next)}.`} onClick={() => setZone(next)}>
      <span class="digits">{dateTime(new Date(now).toISOString(), zone.value).slice(11)}</span>
      <span class="zone">{zone.value === "UTC" ? "UTC" : "NY"}</span>
      <span class="hidden">, change to {zoneWord(next)}</span>
    </button>
  );
}

function ThemeButton() {
  const next = theme.value === "system" ? (shownTheme.value === "dark" ? "light" : "dark") : theme.value === "dark" ? "light" : "dark";
  return (
    <button type="button" class="bare" aria-label={`Change to the ${next} theme`} title={`Change to the ${next} theme`} onClick={() => setTheme(next)}>
      <Icon name={shownTheme.value === "dark" ? "moon" : "sun"} />
    </button>
  );
}

function Person() {
  const who = session.value?.user;
  if (!who) return null;
  const leave = () => {
    signOut().then(() => navigate("/sign-in"), (thrown) => say(asError(thrown).message, "bad"));
  };
  return (
    <Popover id="person-menu" button="bare" label={`Your account, ${who.name}`} title={<><Icon name="person" /><span class="person-name">{who.name}</span></>}>
      {(close) => (
        <>
          <p class="quiet">{who.name}, {who.role}{who.role === "demo" ? " (read only)" : ""}</p>
          <a href="/account" onClick={close}>Account and tokens</a>
          <a href="/docs" onClick={close}>Documentation</a>
          <button type="button" onClick={leave}>Sign out</button>
        </>
      )}
    </Popover>
  );
}

function Away() {
  const now = useNow();
  if (awaySince.value === null) return null;
  return (
    <div class="notice bad" role="alert">
      <Icon name="warning" />
      <div>The engine has not answered for {span(now - awaySince.value)}. What is shown is as it was before; this page goes on by itself.</div>
    </div>
  );
}
