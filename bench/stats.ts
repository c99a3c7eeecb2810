/** Order statistics of a sample. */
export interface Stats {
  p50: number;
  p99: number;
  min: number;
}

export function statsOf(sample: readonly number[]): Stats {
  const sorted = sample.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
  return { p50: at(0.5), p99: at(0.99), min: at(0) };
}
