// States in words with a colour beside them, never a colour alone.

import { words } from "../format.ts";

export type Tone = "good" | "bad" | "warn" | "info" | "mute";

const TONES: Record<string, Tone> = {
  // Connections
  active: "good", inactive: "mute", error: "bad", testing: "info", stale: "warn",
  // Feeds and prices
  live: "good", fresh: "good", connecting: "info", reconnecting: "warn", stopped: "mute", failed: "bad",
  single_source: "warn", one_sided: "warn", crossed: "bad", muted: "bad", closed: "mute",
  // Jobs and gaps
  queued: "info", running: "info", succeeded: "good", cancelled: "mute",
  open: "warn", lost: "bad", repaired: "good", repairing: "info",
  // Alerts and the engine
  critical: "bad", warning: "warn", raised: "bad", cleared: "good",
  ok: "good", degraded: "warn", unavailable: "bad",
  // Ticks
  accepted: "good", rejected: "bad", final: "good", provisional: "info",
};

export const toneOf = (state: string): Tone => TONES[state] ?? "mute";

export function Badge({ state, label, tone, title }: { state: string; label?: string; tone?: Tone; title?: string }) {
  return (
    <span class={`badge ${tone ?? toneOf(state)}`} title={title}>
      <span class="dot" aria-hidden="true" />
      {label ?? words(state)}
    </span>
  );
}
