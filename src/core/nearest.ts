/** The known names that differ from a name by at most so many letters, the nearest first. */
export function nearest(name: string, known: readonly string[], distance: number): string[] {
  return known
    .map((each) => ({ each, distance: editDistance(name, each) }))
    .filter((near) => near.distance <= distance)
    .sort((a, b) => a.distance - b.distance)
    .map(({ each }) => each);
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const substitution = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substitution, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
