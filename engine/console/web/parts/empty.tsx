// What stands where there is nothing yet, and what to do about it.

import type { ComponentChildren } from "preact";

export function Empty({ title, children, action, heading }: { title: string; heading?: boolean; children?: ComponentChildren; action?: ComponentChildren }) {
  return (
    <div class="empty">
      {heading ? <h1 class="empty-title">{title}</h1> : <p class="empty-title">{title}</p>}
      {children ? <div class="quiet">{children}</div> : null}
      {action ? <div class="row center">{action}</div> : null}
    </div>
  );
}
