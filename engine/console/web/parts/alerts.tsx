// Alerts below each other, newest first.

import { words } from "../format.ts";
import type { Alert } from "../types.ts";
import { Badge } from "./badge.tsx";
import { Ago } from "./time.tsx";

export function AlertList({ alerts }: { alerts: Alert[] }) {
  return (
    <ul class="alert-list">
      {alerts.map((alert) => (
        <li key={alert.id}>
          <AlertBadge alert={alert} />
          <span>{alert.message}</span>
          <span class="sub">
            {words(alert.rule)}, {alert.subject}, raised <Ago at={alert.raised_at} />
            {alert.cleared_at ? <>, cleared <Ago at={alert.cleared_at} /></> : null}
          </span>
        </li>
      ))}
    </ul>
  );
}

/** How bad it is, or that it is over. */
export function AlertBadge({ alert }: { alert: Alert }) {
  return alert.cleared_at ? <Badge state="cleared" /> : <Badge state={alert.severity} />;
}
