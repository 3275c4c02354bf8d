// Latencies on a logarithmic scale.

/** Powers of ten that hold all the values, as exponents: at least two decades. */
export function decades(values: readonly number[]): [number, number] {
  const there = values.filter((value) => value > 0);
  if (there.length === 0) return [2, 5];
  const low = Math.floor(Math.log10(Math.min(...there)));
  const high = Math.ceil(Math.log10(Math.max(...there)));
  return [low, Math.max(high, low + 2)];
}

/** Where a value stands between the powers, 0 to 1. */
export function share(value: number, [low, high]: [number, number]): number {
  if (!(value > 0)) return 0;
  return Math.min(1, Math.max(0, (Math.log10(value) - low) / (high - low)));
}

/** The powers between, as nanoseconds. */
export function ticks([low, high]: [number, number]): number[] {
  return Array.from({ length: high - low + 1 }, (_, n) => 10 ** (low + n));
}
