// What the mock's parts share.

export class Problem extends Error {
  constructor(status, code, message, field = null, retryAfter = null) {
    super(message);
    Object.assign(this, { status, code, field, retryAfter });
  }
}
export const fail = (...args) => {
  throw new Problem(...args);
};
export const missing = (what) => fail(404, "not_found", `${what}: there is none`);

export const empty = process.env.EMPTY === "1";
export const now = () => Date.now();
export const iso = (ms) => new Date(ms).toISOString();
export const ago = (seconds) => iso(now() - seconds * 1000);

/** Always the same numbers for the same seed. */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** A list by pages, newest first; ids fall. */
export function paged(key, rows, query) {
  const limit = Math.min(Number(query.limit ?? 100), 1000);
  const from = query.before ? rows.findIndex((row) => Number(row.id ?? row.t) < Number(query.before)) : 0;
  const part = from < 0 ? [] : rows.slice(from, from + limit);
  const last = part.at(-1);
  return { [key]: part, next: from >= 0 && from + limit < rows.length ? String(last.id ?? last.t) : null };
}

/** Answers with events until the other side goes. */
export function events(response, request, everyMs, first, then) {
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  const write = (list) => {
    for (const [event, data] of list) response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  };
  response.write("retry: 2000\n\n");
  write(first());
  const timer = setInterval(() => write(then()), everyMs);
  request.on("close", () => clearInterval(timer));
  return "handled";
}
