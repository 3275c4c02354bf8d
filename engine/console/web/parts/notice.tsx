// A message inside the page. Errors are told to screen readers at once.

import type { ComponentChildren } from "preact";
import type { ApiError } from "../api.ts";
import { Icon } from "./icon.tsx";

type Kind = "good" | "bad" | "warn" | "info";

export function Notice({ kind, children, action }: { kind: Kind; children: ComponentChildren; action?: ComponentChildren }) {
  return (
    <div class={`notice ${kind}`} role={kind === "bad" ? "alert" : "status"}>
      <Icon name={kind === "good" ? "check" : "warning"} />
      <div class="grow">{children}</div>
      {action}
    </div>
  );
}

/** A failed request: with old data still shown, it says that it is old. */
export function LoadError({ error, stale, retry }: { error: ApiError | null; stale?: boolean; retry?: () => void }) {
  if (!error) return null;
  return (
    <Notice kind={stale ? "warn" : "bad"} action={retry ? <button type="button" class="small" onClick={retry}>Try again</button> : null}>
      {error.message}
      {stale ? " What is shown below is as it was before." : ""}
    </Notice>
  );
}

/** What went wrong with a form as a whole; what belongs to a field stands beside the field. */
export function FormError({ error, fields = [] }: { error: ApiError | null; fields?: string[] }) {
  if (!error || (error.field && fields.includes(error.field))) return null;
  return <Notice kind="bad">{error.field ? <><strong>{error.field}: </strong>{error.message}</> : error.message}</Notice>;
}
