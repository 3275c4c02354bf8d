// Talking to the API: typed answers, errors in words, the CSRF header, what happens when a session is over.

import { signal } from "@preact/signals";
import type { Schemas, Session } from "./types.ts";

/** Who is signed in: `undefined` while nobody knows yet, `null` for nobody. */
export const session = signal<Session | null | undefined>(undefined);
/** Whether the engine waits for its first administrator. */
export const firstRunPending = signal(false);
/** Since when the engine does not answer, milliseconds; `null` while it does. */
export const awaySince = signal<number | null>(null);

/** An answer that is no success, in words for people. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly field: string | null = null,
    readonly retryAfter: number | null = null,
  ) {
    super(message);
  }
}

/** Any thrown thing as an error with words. */
export function asError(thrown: unknown): ApiError {
  if (thrown instanceof ApiError) return thrown;
  return new ApiError(0, "fault", thrown instanceof Error ? thrown.message : String(thrown));
}

/** Whether the error only says that the caller gave up. */
export function isAborted(thrown: unknown): boolean {
  return thrown instanceof DOMException && thrown.name === "AbortError";
}

export type Query = Record<string, string | number | boolean | null | undefined>;

/** A path with its parameters; empty ones are left out. */
export function withQuery(path: string, query: Query = {}): string {
  const parameters = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") parameters.set(key, String(value));
  }
  const text = parameters.toString();
  return text ? `${path}?${text}` : path;
}

interface Options {
  query?: Query;
  body?: unknown;
  signal?: AbortSignal;
}

async function request<T>(method: string, path: string, options: Options = {}): Promise<T> {
  const headers: Record<string, string> = { Accept: "application/json" };
  if (options.body !== undefined) headers["Content-Type"] = "application/json";
  if (method !== "GET" && session.value?.csrf_token) headers["X-CSRF-Token"] = session.value.csrf_token;
  let response: Response;
  try {
    response = await fetch(withQuery(path, options.query), {
      method,
      headers,
      body: options.body === undefined ? null : JSON.stringify(options.body),
      credentials: "same-origin",
      cache: "no-store",
      signal: options.signal ?? null,
    });
  } catch (thrown) {
    if (isAborted(thrown)) throw thrown;
    awaySince.value ??= Date.now();
    throw new ApiError(0, "away", "The engine does not answer. Is it running?");
  }
  awaySince.value = null;
  if (response.ok) return (response.status === 204 ? undefined : await response.json()) as T;
  const error = await problem(response);
  if (error.status === 401 && path !== "/api/session") session.value = null;
  throw error;
}

async function problem(response: Response): Promise<ApiError> {
  const wait = Number(response.headers.get("Retry-After"));
  const retryAfter = Number.isFinite(wait) && wait > 0 ? wait : null;
  try {
    const { error } = (await response.json()) as Schemas["ErrorBody"];
    let message = sentence(error.message);
    if (response.status === 429 && retryAfter && !/try again/i.test(message)) message += ` Try again in ${retryAfter} s.`;
    return new ApiError(response.status, error.code, message, error.field, retryAfter);
  } catch {
    return new ApiError(response.status, "unexpected", `The engine answered ${response.status} without saying why.`);
  }
}

/** The API's messages begin small and end open, as parts of a log line; on a page they are sentences. */
export function sentence(text: string): string {
  const trimmed = text.trim();
  if (!trimmed) return trimmed;
  const word = trimmed.split(/[\s:]/, 1)[0] ?? "";
  const isName = /[_./\d]/.test(word);
  const start = isName ? trimmed : trimmed[0]!.toUpperCase() + trimmed.slice(1);
  return /[.!?]$/.test(start) ? start : `${start}.`;
}

export const api = {
  get: <T>(path: string, query?: Query, abort?: AbortSignal) =>
    request<T>("GET", path, { query: query ?? {}, ...(abort ? { signal: abort } : {}) }),
  post: <T>(path: string, body?: unknown, query?: Query) => request<T>("POST", path, { body: body ?? {}, query: query ?? {} }),
  put: <T>(path: string, body: unknown) => request<T>("PUT", path, { body }),
  patch: <T>(path: string, body: unknown) => request<T>("PATCH", path, { body }),
  delete: <T>(path: string, query?: Query, body?: unknown) =>
    request<T>("DELETE", path, body === undefined ? { query: query ?? {} } : { query: query ?? {}, body }),
};

/** One part of a path, safe whatever is in it. */
export const part = encodeURIComponent;

/** Asks who is signed in. */
export async function loadSession(): Promise<void> {
  try {
    session.value = await api.get<Session>("/api/session");
    firstRunPending.value = false;
  } catch (thrown) {
    const error = asError(thrown);
    if (error.status === 401) {
      firstRunPending.value = error.code === "first_run_pending";
      session.value = null;
    } else {
      throw error;
    }
  }
}

/** Ends the session here and in the engine. */
export async function signOut(): Promise<void> {
  try {
    await api.delete("/api/session");
  } catch (thrown) {
    if (asError(thrown).status !== 401) throw thrown;
  }
  session.value = null;
}
