// When alerts are raised.

import { words } from "../../format.ts";
import type { AlertRule, RuleSettings } from "../../types.ts";
import { Panel } from "../panel.tsx";
import { Table } from "../table.tsx";
import type { Column } from "../table.tsx";

/** What a rule watches, and the unit of its threshold. */
const ABOUT: Record<AlertRule, [string, string]> = {
  connection_error: ["A connection is in error.", ""],
  source_mute: ["An active source sends nothing.", ""],
  symbol_crossed: ["The best bid of a symbol is above its best ask.", ""],
  symbol_single_source: ["A symbol has only one source left.", ""],
  storage_lag: ["The database is behind the journal by more than the threshold.", "s"],
  disk_low: ["Less than the threshold of the disk is free.", "%"],
  job_failed: ["A job failed for good.", ""],
};

interface Props {
  rules: Record<string, RuleSettings>;
  onChange: (rules: Record<string, RuleSettings>) => void;
}

export function AlertRules({ rules, onChange }: Props) {
  const set = (rule: string, changes: Partial<RuleSettings>) => onChange({ ...rules, [rule]: { ...rules[rule]!, ...changes } });
  const columns: Column<[string, RuleSettings]>[] = [
    { title: "Rule", heading: true, cell: ([rule]) => <>{words(rule)}<span class="sub">{ABOUT[rule as AlertRule]?.[0]}</span></> },
    {
      title: "On", width: "76px",
      cell: ([rule, { enabled }]) => <input type="checkbox" aria-label={`${words(rule)}: on`} checked={enabled} onChange={(e) => set(rule, { enabled: e.currentTarget.checked })} />,
    },
    {
      title: "Threshold", width: "170px",
      cell: ([rule, { threshold, enabled }]) =>
        threshold === null ? <span class="quiet">none</span> : (
          <span class="row tight-row">
            <input class="short-input" type="number" step="any" min="0" required aria-label={`${words(rule)}: threshold`} disabled={!enabled} value={threshold} onInput={(e) => set(rule, { threshold: e.currentTarget.valueAsNumber })} />
            {ABOUT[rule as AlertRule]?.[1]}
          </span>
        ),
    },
    {
      title: "After", width: "176px",
      cell: ([rule, { for_seconds, enabled }]) => (
        <span class="row tight-row">
          <input class="short-input" type="number" step="1" min="0" required aria-label={`${words(rule)}: after how many seconds`} disabled={!enabled} value={for_seconds} onInput={(e) => set(rule, { for_seconds: e.currentTarget.valueAsNumber })} />
          s
        </span>
      ),
    },
  ];
  return (
    <Panel title="Alert rules" flush>
      <Table caption="Alert rules" columns={columns} rows={Object.entries(rules)} rowKey={([rule]) => rule} />
    </Panel>
  );
}
