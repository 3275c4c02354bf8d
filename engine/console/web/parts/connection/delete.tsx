// Deleting asks what becomes of the stored data, and for the name.

import { useId, useState } from "preact/hooks";
import type { Connection } from "../../types.ts";
import { Confirm } from "../dialog.tsx";

type What = "keep" | "delete";

export function DeleteConnection({ one, onConfirm, onClose }: { one: Connection; onConfirm: (data: What) => Promise<void>; onClose: () => void }) {
  const [data, setData] = useState<What>("keep");
  const id = useId();
  const choices: [What, string, string][] = [
    ["keep", "Keep its stored data", "Prices and bars stay and can be read under its name."],
    ["delete", "Delete its stored data as well", "All ticks, bars and indicators of this connection. This cannot be taken back."],
  ];
  return (
    <Confirm title={`Delete ${one.name}`} action={data === "delete" ? "Delete with its data" : "Delete the connection"} danger typed={one.name} onConfirm={() => onConfirm(data)} onClose={onClose}>
      <p>{one.is_active ? "The feed is stopped first. " : ""}Its settings and its credentials are deleted; its log stays.</p>
      <fieldset class="stack tight">
        <legend>What becomes of its data?</legend>
        {choices.map(([value, label, help]) => (
          <div class="check" key={value}>
            <input type="radio" id={`${id}-${value}`} name={`${id}-data`} checked={data === value} onChange={() => setData(value)} aria-describedby={`${id}-${value}-help`} />
            <label for={`${id}-${value}`}>{label}</label>
            <p class="help" id={`${id}-${value}-help`}>{help}</p>
          </div>
        ))}
      </fieldset>
    </Confirm>
  );
}
