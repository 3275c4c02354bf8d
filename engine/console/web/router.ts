// Which page is shown: the address is the only state.

import { signal } from "@preact/signals";

export interface Place {
  path: string;
  query: URLSearchParams;
  hash: string;
}

const read = (): Place => ({
  path: location.pathname.length > 1 ? location.pathname.replace(/\/+$/, "") || "/" : "/",
  query: new URLSearchParams(location.search),
  hash: location.hash,
});

export const place = signal<Place>(read());

/** Goes to an address of ours. */
export function navigate(to: string, how: { replace?: boolean } = {}): void {
  if (how.replace) history.replaceState(null, "", to);
  else history.pushState(null, "", to);
  place.value = read();
}

/** Changes parameters of the address without a new entry in the history; empty ones are dropped. */
export function setQuery(changes: Record<string, string | null>): void {
  const query = new URLSearchParams(location.search);
  for (const [key, value] of Object.entries(changes)) {
    if (value) query.set(key, value);
    else query.delete(key);
  }
  const text = query.toString();
  navigate(`${location.pathname}${text ? `?${text}` : ""}`, { replace: true });
}

/** Lets links of ours go without loading the page anew. */
export function start(): void {
  addEventListener("popstate", () => (place.value = read()));
  addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = (event.target as Element | null)?.closest?.("a");
    if (!link?.href || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
    if (/^\/(api|assets|health|metrics)(\/|$)/.test(link.pathname)) return;
    const bare = link.getAttribute("href") ?? "";
    if (bare.startsWith("#")) return;
    event.preventDefault();
    navigate(link.pathname + link.search + link.hash);
  });
}
