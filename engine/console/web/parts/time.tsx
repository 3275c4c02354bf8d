// Times as the viewer wants them, and whether what is shown is live.

import { Fragment } from "preact";
import { zone } from "../prefs.ts";
import type { LiveState } from "../sse.ts";
import { ago, clock, dateTime } from "../time.ts";
import { useNow } from "../use.ts";

/** A moment; the whole of it on hovering. */
export function When({ at, only, ms }: { at: string | number | null; only?: "clock" | "date" | undefined; ms?: boolean }) {
  if (at === null) return <>–</>;
  const whole = dateTime(at, zone.value, ms);
  const text = only === "clock" ? clock(at, zone.value) : only === "date" ? whole.slice(0, 10) : whole;
  return <time class="nowrap" dateTime={typeof at === "string" ? at : new Date(at * 1000).toISOString()} title={`${whole} ${zone.value === "UTC" ? "UTC" : "New York"}`}>{only === "clock" ? text : <Hyphens text={text} />}</time>;
}

/** A date whose hyphens are as narrow as in words: among tabular digits they are as wide as a digit. */
function Hyphens({ text }: { text: string }) {
  return <>{text.split("-").map((piece, index) => <Fragment key={index}>{index ? <span class="hyphen">-</span> : null}{piece}</Fragment>)}</>;
}

/** How long ago, growing. */
export function Ago({ at }: { at: string | null }) {
  const now = useNow();
  if (at === null) return <>never</>;
  return <time class="nowrap" dateTime={at} title={dateTime(at, zone.value)}>{ago(at, now)}</time>;
}

/** How long it has been so, growing. */
export function Age({ at }: { at: string }) {
  const now = useNow();
  return <time class="nowrap" dateTime={at} title={dateTime(at, zone.value)}>{ago(at, now).replace(" ago", "").replace("just now", "a moment")}</time>;
}

/** Whether events come, or since when not. */
export function LiveMark({ state }: { state: LiveState }) {
  const [tone, text] =
    state.kind === "live" ? ["good", "Live"] : state.kind === "connecting" ? ["info", "Connecting"] : ["bad", `Reconnecting since ${clock(state.since / 1000, zone.value)}`];
  return <span class={`badge ${tone}`} role="status"><span class={`dot${state.kind === "live" ? " beat" : ""}`} aria-hidden="true" />{text}</span>;
}
