// Short messages about what was done or went wrong, shown at the edge of the page.

import { signal } from "@preact/signals";

export interface Toast {
  id: number;
  kind: "good" | "bad";
  text: string;
}

export const toasts = signal<Toast[]>([]);
let last = 0;

/** Says something. Good news goes by itself; bad news stays until it is dismissed. */
export function say(text: string, kind: Toast["kind"] = "good"): void {
  const id = ++last;
  toasts.value = [...toasts.value.slice(-3), { id, kind, text }];
  if (kind === "good") setTimeout(() => dismiss(id), 6000);
}

export function dismiss(id: number): void {
  toasts.value = toasts.value.filter((toast) => toast.id !== id);
}
