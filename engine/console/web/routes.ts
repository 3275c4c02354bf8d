// Every page: its address, its place in the menu, who may see it, and the file it is in. A page is loaded when it is
// first shown. The engine serves the same addresses: see engine/console/assets.rs.

import type { ComponentType } from "preact";
import type { IconName } from "./parts/icon.tsx";
import type { Permission } from "./types.ts";

export interface PageProps {
  params: Record<string, string>;
}
export interface Route {
  path: string;
  title: string;
  menu?: { group: "Overview" | "Markets" | "Operations" | "Administration"; icon: IconName };
  needs?: Permission;
  /** Shown to those who are not signed in, without the shell. */
  open?: boolean;
  load: () => Promise<{ default: ComponentType<PageProps> }>;
}

export const routes: Route[] = [
  { path: "/sign-in", title: "Sign in", open: true, load: () => import("./pages/sign-in.tsx") },
  { path: "/first-run", title: "First administrator", open: true, load: () => import("./pages/first-run.tsx") },

  { path: "/", title: "Dashboard", menu: { group: "Overview", icon: "dashboard" }, load: () => import("./pages/dashboard.tsx") },

  { path: "/live", title: "Live", menu: { group: "Markets", icon: "pulse" }, load: () => import("./pages/live.tsx") },
  { path: "/symbols/:symbol", title: "Symbol", load: () => import("./pages/symbol.tsx") },
  { path: "/sources", title: "Sources", menu: { group: "Markets", icon: "layers" }, load: () => import("./pages/sources.tsx") },
  { path: "/market-data", title: "Market data", menu: { group: "Markets", icon: "table" }, load: () => import("./pages/market-data.tsx") },
  { path: "/gaps", title: "Gaps", menu: { group: "Markets", icon: "gap" }, load: () => import("./pages/gaps.tsx") },

  { path: "/connections", title: "Connections", menu: { group: "Operations", icon: "plug" }, load: () => import("./pages/connections.tsx") },
  { path: "/connections/new", title: "New connection", load: () => import("./pages/connection-new.tsx") },
  { path: "/connections/:name", title: "Connection", load: () => import("./pages/connection.tsx") },
  { path: "/jobs", title: "Jobs", menu: { group: "Operations", icon: "jobs" }, load: () => import("./pages/jobs.tsx") },
  { path: "/alerts", title: "Alerts", menu: { group: "Operations", icon: "bell" }, load: () => import("./pages/alerts.tsx") },
  { path: "/storage", title: "Storage", needs: "view-system", menu: { group: "Operations", icon: "disk" }, load: () => import("./pages/storage.tsx") },
  { path: "/pipeline", title: "Pipeline", needs: "view-system", menu: { group: "Operations", icon: "pipeline" }, load: () => import("./pages/pipeline.tsx") },
  { path: "/terminals", title: "Terminals", needs: "view-system", menu: { group: "Operations", icon: "terminal" }, load: () => import("./pages/terminals.tsx") },

  { path: "/users", title: "Users and tokens", needs: "manage-users", menu: { group: "Administration", icon: "users" }, load: () => import("./pages/users.tsx") },
  { path: "/settings", title: "Settings", needs: "manage-settings", menu: { group: "Administration", icon: "settings" }, load: () => import("./pages/settings.tsx") },
  { path: "/account", title: "Your account", load: () => import("./pages/account.tsx") },
  { path: "/docs", title: "Documentation", load: () => import("./pages/docs.tsx") },
  { path: "/docs/:topic", title: "Documentation", load: () => import("./pages/docs.tsx") },
];
