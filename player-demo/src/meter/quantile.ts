// Order statistics over a handful of samples.

/** The q-quantile (0 to 1) by nearest rank; null without samples. */
export function quantile(samples: readonly number[], q: number): number | null {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? null;
}

export function median(samples: readonly number[]): number | null {
  return quantile(samples, 0.5);
}
