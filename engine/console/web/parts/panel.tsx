// The page's head, its panels and its figures.

import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

/** What somebody has opened, or types in, while the page was on its way. */
const IN_USE = "[aria-expanded=true], .popover:not([hidden]), input, select, textarea";

/** The heading of a page, with what can be done on it. Takes focus when the page comes, for the keyboard. */
export function Head({ title, children, about, badge }: { title: string; children?: ComponentChildren; about?: ComponentChildren; badge?: ComponentChildren }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    // A menu closes when focus leaves it.
    if (!document.activeElement?.closest(IN_USE)) heading.current?.focus({ preventScroll: true });
  }, []);
  return (
    <header class="page-head">
      <div class="grow">
        <div class="row"><h1 ref={heading} tabIndex={-1}>{title}</h1>{badge}</div>
        {about ? <p class="quiet">{about}</p> : null}
      </div>
      {children ? <div class="row actions">{children}</div> : null}
    </header>
  );
}

export function Panel({ title, aside, children, flush }: { title?: string; aside?: ComponentChildren; children: ComponentChildren; flush?: boolean }) {
  return (
    <section class={`panel${flush ? " flush" : ""}`}>
      {title ? <header class="panel-head"><h2>{title}</h2>{aside}</header> : null}
      {children}
    </section>
  );
}

export function Figure({ label, value, detail, tone }: { label: string; value: ComponentChildren; detail?: ComponentChildren; tone?: "good" | "bad" | "warn" | undefined }) {
  return (
    <div class={`figure ${tone ?? ""}`}>
      <dt>{label}</dt>
      <dd>{value}{detail ? <small>{detail}</small> : null}</dd>
    </div>
  );
}

export const Figures = ({ children }: { children: ComponentChildren }) => <dl class="figures">{children}</dl>;

/** Names and values below each other. */
export function Facts({ facts }: { facts: [string, ComponentChildren][] }) {
  return <dl class="facts">{facts.map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value ?? "–"}</dd></div>)}</dl>;
}

/** How full something is. */
export function Meter({ value, max, label, tone }: { value: number; max: number; label: string; tone?: "good" | "bad" | "warn" | undefined }) {
  const share = max > 0 ? Math.min(100, Math.max(0, (value / max) * 100)) : 0;
  return (
    <div class={`meter ${tone ?? ""}`} role="progressbar" aria-label={label} aria-valuenow={Math.round(share)} aria-valuemin={0} aria-valuemax={100}>
      <span style={{ width: `${share}%` }} />
    </div>
  );
}
