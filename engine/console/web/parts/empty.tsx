// What stands where there is nothing yet, and what to do about it.

import type { ComponentChildren } from "preact";

export function Empty({ title, children, action }: { title: string; children?: ComponentChildren; action?: ComponentChildren }) {
  return (
    <div class="empty">
      <p class="empty-title">{title}</p>
      {children ? <div class="quiet">{children}</div> : null}
      {action ? <div class="row center">{action}</div> : null}
    </div>
  );
}
