// Hooks: data that is loaded once, polled, paged, or streamed.

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { api, asError, isAborted, withQuery } from "./api.ts";
import type { ApiError, Query } from "./api.ts";
import { openLive } from "./sse.ts";
import type { LiveHandler, LiveState } from "./sse.ts";

export interface Loaded<T> {
  /** The newest answer; kept while a later request fails. */
  data: T | undefined;
  /** Why the newest request failed. */
  error: ApiError | null;
  loading: boolean;
  reload: () => void;
}

/** Loads `path`, again every `everyMs` while the page is visible. A `null` path loads nothing. */
export function useLoad<T>(path: string | null, query: Query = {}, everyMs: number | null = null): Loaded<T> {
  const address = path === null ? null : withQuery(path, query);
  const [state, setState] = useState<{ address: string | null; data: T | undefined; error: ApiError | null }>({ address, data: undefined, error: null });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    if (address === null) return;
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const load = async () => {
      if (everyMs !== null && document.hidden) {
        timer = setTimeout(load, everyMs);
        return;
      }
      try {
        const data = await api.get<T>(address, {}, abort.signal);
        setState({ address, data, error: null });
      } catch (thrown) {
        if (isAborted(thrown)) return;
        const error = asError(thrown);
        setState((before) => ({ address, data: before.address === address ? before.data : undefined, error }));
      }
      if (everyMs !== null && !abort.signal.aborted) timer = setTimeout(load, everyMs);
    };
    void load();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [address, everyMs, turn]);
  const reload = useCallback(() => setTurn((n) => n + 1), []);
  const current = state.address === address;
  return { data: current ? state.data : undefined, error: current ? state.error : null, loading: !current || (!state.data && !state.error), reload };
}

export interface Pages<T> {
  rows: T[];
  error: ApiError | null;
  loading: boolean;
  /** Whether there are older rows. */
  more: boolean;
  loadMore: () => void;
  reload: () => void;
}

/** A list newest first, page by page: `{[key]: rows, next}`. */
export function usePages<T>(path: string | null, key: string, query: Query = {}): Pages<T> {
  const address = path === null ? null : withQuery(path, query);
  const [state, setState] = useState<{ address: string | null; rows: T[]; next: string | null; error: ApiError | null; loading: boolean }>(
    { address, rows: [], next: null, error: null, loading: true });
  const asked = useRef(0);
  const load = useCallback(
    async (before: string | null) => {
      if (path === null) return;
      const turn = ++asked.current;
      setState((now) => ({ ...(now.address === address ? now : { rows: [], next: null }), address, error: null, loading: true }));
      try {
        const page = await api.get<Record<string, unknown>>(path, { ...query, before });
        if (turn !== asked.current) return;
        const rows = page[key] as T[];
        const next = page.next as string | null;
        setState((now) => ({ address, rows: before ? [...now.rows, ...rows] : rows, next, error: null, loading: false }));
      } catch (thrown) {
        if (turn === asked.current) setState((now) => ({ ...now, error: asError(thrown), loading: false }));
      }
    },
    [address, key],
  );
  useEffect(() => void load(null), [load]);
  const current = state.address === address;
  return {
    rows: current ? state.rows : [],
    error: current ? state.error : null,
    loading: !current || state.loading,
    more: current && state.next !== null,
    loadMore: () => void load(state.next),
    reload: () => void load(null),
  };
}

/** A stream of events for as long as the component is there. The handlers may change between draws. */
export function useLive(path: string | null, handlers: Record<string, LiveHandler>): LiveState {
  const [state, setState] = useState<LiveState>({ kind: "connecting" });
  const latest = useRef(handlers);
  latest.current = handlers;
  const names = Object.keys(handlers).join(",");
  useEffect(() => {
    if (path === null) return;
    const through = Object.fromEntries(
      names.split(",").map((name): [string, LiveHandler] => [name, (data, whole) => latest.current[name]?.(data, whole)]),
    );
    return openLive(path, through, setState);
  }, [path, names]);
  return state;
}

export interface Action {
  run: () => Promise<void>;
  busy: boolean;
  error: ApiError | null;
  clear: () => void;
}

/** Something that a button does: busy while it lasts, and its error kept for showing. */
export function useAction(work: () => Promise<void>): Action {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const run = async () => {
    setBusy(true);
    setError(null);
    try {
      await work();
    } catch (thrown) {
      if (!isAborted(thrown)) setError(asError(thrown));
    } finally {
      setBusy(false);
    }
  };
  return { run, busy, error, clear: () => setError(null) };
}

/** The time, anew every `everyMs`: for ages that grow. */
export function useNow(everyMs = 1000): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}
