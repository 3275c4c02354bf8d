// Tabs that are kept in the address, so that a tab can be linked to and survives a reload.

import { place, setQuery } from "../router.ts";

/** The tab that the address names, or the first. */
export function currentTab(tabs: readonly (readonly [string, string])[]): string {
  const asked = place.value.query.get("tab");
  return tabs.find(([name]) => name === asked)?.[0] ?? tabs[0]![0];
}

export function Tabs({ label, tabs }: { label: string; tabs: readonly (readonly [string, string])[] }) {
  const current = currentTab(tabs);
  const move = (event: KeyboardEvent) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (!step) return;
    event.preventDefault();
    const index = tabs.findIndex(([name]) => name === current);
    const next = tabs[(index + step + tabs.length) % tabs.length]!;
    setQuery({ tab: next[0] });
    document.getElementById(`tab-${next[0]}`)?.focus();
  };
  return (
    <div class="tabs" role="tablist" aria-label={label} onKeyDown={move}>
      {tabs.map(([name, title]) => (
        <button key={name} id={`tab-${name}`} type="button" role="tab" aria-selected={name === current} tabIndex={name === current ? 0 : -1} onClick={() => setQuery({ tab: name })}>{title}</button>
      ))}
    </div>
  );
}
