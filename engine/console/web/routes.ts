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

  { path: "/connections", title: "Connections", menu: { group: "Operations", icon: "plug" }, load: () => import("./pages/connections.tsx") },
  { path: "/connections/new", title: "New connection", load: () => import("./pages/connection-new.tsx") },
  { path: "/connections/:name", title: "Connection", load: () => import("./pages/connection.tsx") },

];
