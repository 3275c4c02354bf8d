// A labelled input: help and error stand beside it and are told with it.

import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";
import type { ApiError } from "../api.ts";

interface InputProps {
  id: string;
  "aria-describedby": string | undefined;
  "aria-invalid": boolean | undefined;
}
interface FieldProps {
  label: ComponentChildren;
  help?: ComponentChildren;
  error?: string | null;
  optional?: boolean;
  children: (props: InputProps) => ComponentChildren;
}

export function Field({ label, help, error, optional, children }: FieldProps) {
  const id = useId();
  const described = [help ? `${id}-help` : "", error ? `${id}-error` : ""].filter(Boolean).join(" ");
  return (
    <div class={`field${error ? " wrong" : ""}`}>
      <label for={id}>{label}{optional ? <span class="quiet"> (optional)</span> : null}</label>
      {children({ id, "aria-describedby": described || undefined, "aria-invalid": error ? true : undefined })}
      {help ? <p class="help" id={`${id}-help`}>{help}</p> : null}
      {error ? <p class="error" id={`${id}-error`} role="alert">{error}</p> : null}
    </div>
  );
}

/** The words of an error that is about this field. */
export function errorOf(error: ApiError | null, field: string): string | null {
  return error?.field === field ? error.message : null;
}

interface CheckProps {
  label: ComponentChildren;
  checked: boolean;
  onChange: (checked: boolean) => void;
  help?: ComponentChildren;
  disabled?: boolean;
}

export function Check({ label, checked, onChange, help, disabled }: CheckProps) {
  const id = useId();
  return (
    <div class="check">
      <input id={id} type="checkbox" checked={checked} disabled={disabled} aria-describedby={help ? `${id}-help` : undefined} onChange={(e) => onChange(e.currentTarget.checked)} />
      <label for={id}>{label}</label>
      {help ? <p class="help" id={`${id}-help`}>{help}</p> : null}
    </div>
  );
}

interface SelectProps<T extends string> {
  label: string;
  value: T;
  options: readonly (readonly [T, string])[];
  onChange: (value: T) => void;
}

/** A choice in a row of filters. */
export function Select<T extends string>({ label, value, options, onChange }: SelectProps<T>) {
  return (
    <Field label={label}>
      {(props) => (
        <select {...props} value={value} onChange={(e) => onChange(e.currentTarget.value as T)}>
          {options.map(([option, title]) => <option key={option} value={option} selected={option === value}>{title}</option>)}
        </select>
      )}
    </Field>
  );
}

/** A few choices side by side, one of which is pressed. */
export function Segments<T extends string>({ label, value, options, onChange }: SelectProps<T>) {
  return (
    <div class="segments" role="group" aria-label={label}>
      {options.map(([option, title]) => (
        <button key={option} type="button" aria-pressed={option === value} onClick={() => onChange(option)}>{title}</button>
      ))}
    </div>
  );
}
