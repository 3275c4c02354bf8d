// A small menu below the button that opens it. Escape closes it, and so does focus that leaves it.

import type { ComponentChildren } from "preact";
import { useRef, useState } from "preact/hooks";

interface PopoverProps {
  id: string;
  /** What stands on the button. */
  title: ComponentChildren;
  /** What the button is called, where its title is not all. */
  label?: string;
  button: "bare" | "small";
  kind?: string;
  children: (close: () => void) => ComponentChildren;
}

export function Popover({ id, title, label, button, kind, children }: PopoverProps) {
  const [open, setOpen] = useState(false);
  const opener = useRef<HTMLButtonElement>(null);
  const onKey = (event: KeyboardEvent) => {
    if (event.key !== "Escape" || !open) return;
    // What is hidden loses the focus, and the keyboard its place on the page.
    opener.current?.focus();
    setOpen(false);
  };
  return (
    <div class="below" onKeyDown={onKey} onFocusOut={(e) => !e.currentTarget.contains(e.relatedTarget as Node | null) && setOpen(false)}>
      <button ref={opener} type="button" class={button} aria-expanded={open} aria-controls={id} aria-label={label} onClick={() => setOpen(!open)}>{title}</button>
      <div id={id} class={`popover${kind ? ` ${kind}` : ""}`} hidden={!open}>{children(() => setOpen(false))}</div>
    </div>
  );
}
