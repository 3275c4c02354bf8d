// What a symbol is, for one whose name does not say it.

import type { InstrumentWanted } from "../../types.ts";
import { Field, Select } from "../field.tsx";

const START: InstrumentWanted = { class: "index", digits: 2, pip: "0.01" };

export function InstrumentFields({ symbol, value, onChange }: { symbol: string; value: InstrumentWanted | null; onChange: (value: InstrumentWanted) => void }) {
  const shown = value ?? START;
  const set = (changes: Partial<InstrumentWanted>) => onChange({ ...shown, ...changes });
  return (
    <div class="card stack tight" role="group" aria-label={`What is ${symbol}?`}>
      <p class="label">What is {symbol}?</p>
      <div class="filters">
        <Select<InstrumentWanted["class"]> label="Class" value={shown.class} onChange={(kind) => set({ class: kind })} options={[["fx", "Currencies"], ["metal", "Metal"], ["index", "Index"], ["crypto", "Crypto"]]} />
        <Field label="Digits after the point">{(props) => <input {...props} type="number" min="0" max="9" step="1" required value={shown.digits} onInput={(e) => set({ digits: e.currentTarget.valueAsNumber || 0 })} />}</Field>
        <Field label="Pip">{(props) => <input {...props} inputMode="decimal" pattern="[0-9]+([.][0-9]+)?" required value={shown.pip} onInput={(e) => set({ pip: e.currentTarget.value })} />}</Field>
        {value ? null : <button type="button" onClick={() => onChange(shown)}>That is right</button>}
      </div>
    </div>
  );
}
