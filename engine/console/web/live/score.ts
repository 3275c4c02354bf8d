// How a source's score is made up, in points and in words. The engine computes it: engine/quality/tracker.rs.

import { compare } from "../decimal.ts";
import type { SourceSummary } from "../types.ts";

export type Part = keyof SourceSummary["parts"];

export interface PartWords {
  part: Part;
  title: string;
  /** Points at most. */
  max: number;
  help: string;
}

export const PARTS: readonly PartWords[] = [
  { part: "uptime", title: "Uptime", max: 40, help: "The share of the last 15 minutes of open market in which the source was connected and spoke." },
  { part: "completeness", title: "Completeness", max: 20, help: "The share of minutes in which it had prices while others had." },
  { part: "latency", title: "Latency", max: 15, help: "How long its prices are under way: 100 ms halve the points. Half of them where the source stamps no times." },
  { part: "spread", title: "Spread", max: 15, help: "The narrowest spread of the symbol divided by its own." },
  { part: "rejects", title: "Clean prices", max: 10, help: "The share of its prices that passed the checks; repeated ones do not count." },
];

/** Points that are missing, largest first: why a score is not better. */
export function losses(summary: SourceSummary): { part: PartWords; points: number }[] {
  return PARTS.map((part) => ({ part, points: part.max - summary.parts[part.part] }))
    .filter(({ points }) => points >= 0.5)
    .sort((a, b) => b.points - a.points);
}

export interface Ranking {
  symbol: string;
  recommended: string | null;
  /** Best first. */
  sources: SourceSummary[];
}

/** The sources of each symbol, best first: by score, then by the smaller priority. */
export function rankings(summaries: readonly SourceSummary[], recommended: Record<string, string>): Ranking[] {
  const bySymbol = new Map<string, SourceSummary[]>();
  for (const summary of summaries) bySymbol.set(summary.symbol, [...(bySymbol.get(summary.symbol) ?? []), summary]);
  const better = (a: SourceSummary, b: SourceSummary): number => b.score - a.score || a.priority - b.priority || a.source.localeCompare(b.source);
  return [...bySymbol]
    .map(([symbol, sources]): Ranking => ({ symbol, recommended: recommended[symbol] ?? null, sources: sources.sort(better) }))
    .sort((a, b) => a.symbol.localeCompare(b.symbol));
}

/** Why this one is recommended, or not, in one sentence. */
export function reason(ranking: Ranking, summary: SourceSummary): string {
  if (summary.source === ranking.recommended) {
    const second = ranking.sources.find((one) => one.source !== ranking.recommended);
    if (!second) return "The only source of this symbol.";
    const ahead = summary.score - second.score;
    return ahead < 0.05 ? `As good as ${second.source}; its priority decides.` : `${ahead.toFixed(1)} points ahead of ${second.source}.`;
  }
  const [worst] = losses(summary);
  return worst ? `Loses ${worst.points.toFixed(1)} of ${worst.part.max} on ${worst.part.title.toLowerCase()}.` : "As good as any; its priority decides.";
}

/** Decimal order of spreads, absent ones last. */
export const bySpread = (a: string | null, b: string | null): number => (a === null || b === null ? Number(a === null) - Number(b === null) : compare(a, b));
