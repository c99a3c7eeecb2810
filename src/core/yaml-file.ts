import { readFileSync } from "node:fs";
import type * as z from "zod";

/**
 * A YAML file's content, as a schema has it. An empty file is an empty mapping.
 * @throws Error that begins with `<file>:<line>: ` and says what is wrong there; never quotes values
 */
export async function readYaml<T extends z.ZodType>(file: string, schema: T): Promise<z.output<T>> {
  const { LineCounter, parseDocument } = await import("yaml");
  const text = read(file);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const [broken] = document.errors;
  if (broken) throw new Error(`${file}:${lines.linePos(broken.pos[0]).line}: ${broken.message}`);
  const content: unknown = document.toJS({ maxAliasCount: 100 });
  const parsed = schema.safeParse(content ?? {});
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => {
    const where = path.length > 0 ? `${path.join(".")}: ` : "";
    return `${file}:${lineOf(path)}: ${where}${message}`;
  });
  throw new Error(problems.join("\n"));

  /** Of the node at this path, or of the nearest one around it. */
  function lineOf(path: readonly PropertyKey[]): number {
    for (let length = path.length; length >= 0; length -= 1) {
      const node = document.getIn(path.slice(0, length), true) as { range?: [number, number, number] } | undefined;
      if (node?.range) return lines.linePos(node.range[0]).line;
    }
    return 1;
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new Error(`Cannot read ${file}: ${(error as Error).message}`);
  }
}
