// The fields that an adapter asks for.

import type { ApiError } from "../../api.ts";
import type { Adapter, AdapterField } from "../../types.ts";
import { Check, Field } from "../field.tsx";
import type { Typed } from "./draft.ts";

interface Props {
  adapter: Adapter;
  typed: Typed;
  /** Keys of secrets that the engine holds. */
  stored: string[];
  error: ApiError | null;
  onChange: (changes: Partial<Typed>) => void;
}

export function AdapterFields({ adapter, typed, stored, error, onChange }: Props) {
  return (
    <>
      {adapter.fields.map((field) => {
        const secret = field.kind === "secret";
        const wrong = error?.field && [field.key, `config.${field.key}`, `secrets.${field.key}`].includes(error.field) ? error.message : null;
        const value = (secret ? typed.secrets : typed.config)[field.key] ?? "";
        const set = (text: string) => onChange(secret ? { secrets: { ...typed.secrets, [field.key]: text } } : { config: { ...typed.config, [field.key]: text } });
        return <One key={`${adapter.adapter}.${field.key}`} field={field} value={value} wrong={wrong} held={secret && stored.includes(field.key)} onInput={set} />;
      })}
    </>
  );
}

function One({ field, value, wrong, held, onInput }: { field: AdapterField; value: string; wrong: string | null; held: boolean; onInput: (text: string) => void }) {
  if (field.kind === "boolean") return <Check label={field.title} help={field.help} checked={value === "true"} onChange={(on) => onInput(String(on))} />;
  const needed = field.required && !held && !field.default;
  const common = { name: field.key, required: needed, autocomplete: "off", autocapitalize: "none" as const, spellcheck: false, value };
  return (
    <Field label={field.title} optional={!field.required} help={field.help ?? undefined} error={wrong}>
      {(props) =>
        field.kind === "choice" ? (
          <select {...props} name={field.key} value={value} onChange={(e) => onInput(e.currentTarget.value)}>
            {field.required && value ? null : <option value="">{field.default ? `As usual: ${field.default}` : "Choose"}</option>}
            {field.choices?.map((choice) => <option key={choice} value={choice} selected={choice === value}>{choice}</option>)}
          </select>
        ) : field.key === "subscribe" ? (
          // The one field of several lines: a message for each.
          <textarea {...props} name={field.key} required={needed} spellcheck={false} value={value} onInput={(e) => onInput(e.currentTarget.value)} />
        ) : field.kind === "secret" ? (
          <input {...props} {...common} type="password" autocomplete="new-password" placeholder={held ? "Stored; leave empty to keep it" : undefined} onInput={(e) => onInput(e.currentTarget.value)} />
        ) : (
          // Text also for numbers and addresses: the engine says what is wrong with them, in words and in one place.
          <input {...props} {...common} type="text" inputMode={field.kind === "number" ? "decimal" : field.kind === "url" ? "url" : "text"} placeholder={field.default ?? undefined} onInput={(e) => onInput(e.currentTarget.value)} />
        )}
    </Field>
  );
}
