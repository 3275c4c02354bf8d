// Live events: one connection, taken up again when it breaks, and always telling whether it is up.

import { loadSession } from "./api.ts";

export type LiveState = { kind: "connecting" } | { kind: "live" } | { kind: "away"; since: number };

/** Called with an event's data; `whole` says that it is a snapshot, which replaces all there was. */
export type LiveHandler = (data: unknown, whole: boolean) => void;

/** How long to wait before the n-th try to open anew, milliseconds. */
export function backoff(tries: number): number {
  return Math.min(1000 * 2 ** Math.min(tries, 5), 30_000);
}

/**
 * Opens a stream of events. The first event of each name after a connection is up is a snapshot, those after it are
 * changes. Returns what closes it.
 */
export function openLive(path: string, handlers: Record<string, LiveHandler>, onState: (state: LiveState) => void): () => void {
  let source: EventSource | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let tries = 0;
  let since: number | null = null;
  let closed = false;
  let seen = new Set<string>();

  const away = () => {
    since ??= Date.now();
    onState({ kind: "away", since });
  };
  const open = () => {
    if (closed) return;
    if (since === null) onState({ kind: "connecting" });
    source = new EventSource(path);
    source.onopen = () => {
      tries = 0;
      since = null;
      seen = new Set();
      onState({ kind: "live" });
    };
    source.onerror = () => {
      away();
      // Closed for good (the engine refused, or is gone): the browser gives up, we do not.
      if (source?.readyState === EventSource.CLOSED) {
        tries += 1;
        timer = setTimeout(open, backoff(tries));
        loadSession().catch(() => {
          // Still away; the next try will tell.
        });
      }
    };
    for (const [name, handler] of Object.entries(handlers)) {
      source.addEventListener(name, (event) => {
        const whole = !seen.has(name);
        seen.add(name);
        handler(JSON.parse((event as MessageEvent<string>).data), whole);
      });
    }
  };
  open();
  return () => {
    closed = true;
    clearTimeout(timer);
    source?.close();
  };
}

/**
 * Rows by key with changes merged in: a snapshot replaces all, a change replaces its rows and leaves the others as the
 * very same objects, so that only what changed is drawn anew.
 */
export function mergeRows<T>(rows: ReadonlyMap<string, T>, changed: T[], key: (row: T) => string, whole: boolean): Map<string, T> {
  const merged = whole ? new Map<string, T>() : new Map(rows);
  for (const row of changed) merged.set(key(row), row);
  return merged;
}
