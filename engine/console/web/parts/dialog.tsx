// A modal dialog: Escape and a click beside it close it, focus goes back to where it was.

import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { asError } from "../api.ts";
import type { ApiError } from "../api.ts";
import { Field } from "./field.tsx";
import { Icon } from "./icon.tsx";
import { FormError } from "./notice.tsx";

interface DialogProps {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
  wide?: boolean;
  drawer?: boolean;
}

/** Shown for as long as it is drawn. */
export function Dialog({ title, onClose, children, wide, drawer }: DialogProps) {
  const element = useRef<HTMLDialogElement>(null);
  const label = useId();
  useEffect(() => {
    const dialog = element.current;
    const before = document.activeElement;
    dialog?.showModal();
    // What is to be filled in, not the button that closes.
    dialog?.querySelector<HTMLElement>("form input, form select, form textarea")?.focus();
    return () => {
      dialog?.close();
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={element}
      class={drawer ? "drawer" : wide ? "wide" : undefined}
      aria-labelledby={label}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => event.target === element.current && onClose()}
    >
      <div class="dialog-body">
        <div class="dialog-head">
          <h2 id={label}>{title}</h2>
          <button type="button" class="bare" aria-label="Close" onClick={onClose}><Icon name="close" /></button>
        </div>
        {children}
      </div>
    </dialog>
  );
}

interface ConfirmProps {
  title: string;
  children?: ComponentChildren;
  /** What the button says. */
  action: string;
  danger?: boolean;
  /** To be typed before the button works. */
  typed?: string;
  onConfirm: () => Promise<void>;
  onClose: () => void;
}

/** Asks before something is done; stays open, with the reason, when it fails. */
export function Confirm({ title, children, action, danger, typed, onConfirm, onClose }: ConfirmProps) {
  const [text, setText] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const ready = !typed || text === typed;
  const submit = async (event: Event) => {
    event.preventDefault();
    if (!ready || busy) return;
    setBusy(true);
    setError(null);
    try {
      await onConfirm();
      onClose();
    } catch (thrown) {
      setError(asError(thrown));
      setBusy(false);
    }
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <form onSubmit={submit} class="stack">
        {children}
        {typed ? (
          <Field label={<>Type <code>{typed}</code> to confirm</>}>
            {(props) => <input {...props} value={text} autocomplete="off" spellcheck={false} onInput={(e) => setText(e.currentTarget.value)} />}
          </Field>
        ) : null}
        <FormError error={error} />
        <footer class="row end">
          <button type="button" onClick={onClose}>Cancel</button>
          <button type="submit" class={danger ? "danger" : "primary"} disabled={!ready || busy}>{busy ? "Working" : action}</button>
        </footer>
      </form>
    </Dialog>
  );
}
