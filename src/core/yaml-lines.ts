import { readFileSync } from "node:fs";

/** The line, from 1, of each entry of the list that is the value of this key at the top of a YAML file. */
export async function linesOfList(file: string, key: string): Promise<number[]> {
  const { isSeq, LineCounter, parseDocument } = await import("yaml");
  const lines = new LineCounter();
  const list = parseDocument(readFileSync(file, "utf8"), { lineCounter: lines }).get(key);
  if (!isSeq(list)) return [];
  return list.items.map((item) => {
    const { range } = item as { range?: [number, number, number] };
    return range ? lines.linePos(range[0]).line : 1;
  });
}
