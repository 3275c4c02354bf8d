// Which page, for whom: signed out people see only sign-in and the first run.

import type { ComponentType } from "preact";
import { useEffect, useErrorBoundary, useState } from "preact/hooks";
import { asError, awaySince, firstRunPending, session } from "./api.ts";
import { matches } from "./match.ts";
import { Empty } from "./parts/empty.tsx";
import { Notice } from "./parts/notice.tsx";
import { Shell } from "./parts/shell.tsx";
import { Toasts } from "./parts/toasts.tsx";
import { navigate, place } from "./router.ts";
import { routes } from "./routes.ts";
import type { PageProps, Route } from "./routes.ts";
import { may } from "./viewer.ts";

function find(path: string): { route: Route; params: Record<string, string> } | null {
  for (const route of routes) {
    const params = matches(route.path, path);
    if (params) return { route, params };
  }
  return null;
}

export function App() {
  const here = place.value;
  const found = find(here.path);
  const signedIn = session.value;
  const open = found?.route.open ?? false;

  useEffect(() => {
    if (signedIn === null && !open) {
      const back = here.path + location.search;
      navigate(back === "/" ? "/sign-in" : `/sign-in?return=${encodeURIComponent(back)}`, { replace: true });
    } else if (signedIn && here.path === "/sign-in") {
      const back = here.query.get("return");
      // Only an address of ours: never what another page put there.
      navigate(back?.startsWith("/") && !back.startsWith("//") ? back : "/", { replace: true });
    }
  }, [signedIn, open, here]);

  if (signedIn === undefined) return <Starting />;
  if (open && found) {
    return <><main class="open"><Page key={here.path} route={found.route} params={found.params} /></main><Toasts /></>;
  }
  if (!signedIn) return <Starting />;
  return (
    <>
      <Shell>
        {found ? <Guarded key={here.path} route={found.route} params={found.params} /> : <Nothing />}
      </Shell>
      <Toasts />
    </>
  );
}

function Starting() {
  return (
    <main class="open" aria-busy="true">
      {awaySince.value ? <Notice kind="bad">The engine does not answer. This page goes on by itself as soon as it does.</Notice> : null}
      {firstRunPending.value ? null : <p class="quiet">Loading</p>}
    </main>
  );
}

function Nothing() {
  return (
    <Empty title="There is no such page" heading>
      <a href="/">Go to the dashboard</a>
    </Empty>
  );
}

function Guarded({ route, params }: { route: Route; params: Record<string, string> }) {
  if (route.needs && !may(route.needs)) {
    return (
      <Empty title="Not for your account" heading>
        This page needs the permission <code>{route.needs}</code>. An administrator can give it to you.
      </Empty>
    );
  }
  return <Page route={route} params={params} />;
}

const ready = new Map<Route, ComponentType<PageProps>>();

function Page({ route, params }: { route: Route; params: Record<string, string> }) {
  const [Loaded, setLoaded] = useState<{ page: ComponentType<PageProps> } | null>(ready.has(route) ? { page: ready.get(route)! } : null);
  const [failed, setFailed] = useState<string | null>(null);
  const [broken, reset] = useErrorBoundary((error) => console.error(error));
  useEffect(() => {
    let gone = false;
    route.load().then(
      (module) => {
        ready.set(route, module.default);
        if (!gone) setLoaded({ page: module.default });
      },
      (thrown) => !gone && setFailed(asError(thrown).message),
    );
    return () => {
      gone = true;
    };
  }, [route]);
  useEffect(() => {
    document.title = `${route.title} · Tickwire`;
    scrollTo(0, 0);
  }, [route]);
  if (failed) {
    return (
      <Notice kind="bad" action={<button type="button" onClick={() => location.reload()}>Reload</button>}>
        This page could not be loaded: the engine was perhaps updated meanwhile. {failed}
      </Notice>
    );
  }
  if (broken) {
    return (
      <Notice kind="bad" action={<button type="button" onClick={reset}>Try again</button>}>
        This page has a fault: {asError(broken).message}
      </Notice>
    );
  }
  return Loaded ? <Loaded.page params={params} /> : <p class="quiet" aria-busy="true">Loading</p>;
}
