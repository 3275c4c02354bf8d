// Times as the viewer wants them, and whether what is shown is live.

import { zone } from "../prefs.ts";
import type { LiveState } from "../sse.ts";
import { ago, clock, dateTime } from "../time.ts";
import { useNow } from "../use.ts";

/** A moment; the whole of it on hovering. */
export function When({ at, only }: { at: string | number | null; only?: "clock" | "date" }) {
  if (at === null) return <>–</>;
  const whole = dateTime(at, zone.value);
  const text = only === "clock" ? clock(at, zone.value) : only === "date" ? whole.slice(0, 10) : whole;
  return <time class="nowrap" dateTime={typeof at === "string" ? at : new Date(at * 1000).toISOString()} title={`${whole} ${zone.value === "UTC" ? "UTC" : "New York"}`}>{text}</time>;
}

/** How long ago, growing. */
export function Ago({ at }: { at: string | null }) {
  const now = useNow();
  if (at === null) return <>never</>;
  return <time class="nowrap" dateTime={at} title={dateTime(at, zone.value)}>{ago(at, now)}</time>;
}

/** Whether events come, or since when not. */
export function LiveMark({ state }: { state: LiveState }) {
  const now = useNow();
  const [tone, text] =
    state.kind === "live" ? ["good", "Live"] : state.kind === "connecting" ? ["info", "Connecting"] : ["bad", `Reconnecting since ${ago(new Date(state.since).toISOString(), now).replace(" ago", "")}`];
  return <span class={`badge ${tone}`} role="status"><span class={`dot${state.kind === "live" ? " beat" : ""}`} aria-hidden="true" />{text}</span>;
}
