// What whoever is signed in may do. The engine decides; this only keeps what would be refused off the page.

import { session } from "./api.ts";
import type { Connection, Permission, User } from "./types.ts";

export const user = (): User | null => session.value?.user ?? null;

/** Whether they have the permission: administrators have all, staff what they were given. */
export function may(permission: Permission): boolean {
  const who = user();
  if (!who) return false;
  return who.role === "administrator" || (who.role === "staff" && who.permissions.includes(permission));
}

/** Whether they may change anything at all. */
export const mayWrite = (): boolean => user() !== null && user()?.role !== "demo";

/** Whether they may change this connection. One of the configuration file is changed there. */
export function mayChange(connection: Connection): boolean {
  if (!mayWrite() || connection.origin === "configuration") return false;
  return connection.owner === user()?.name || may("manage-data-connections");
}
