import { readFileSync } from "node:fs";
import type * as z from "zod";

export interface YamlFile {
  /** As plain values; an empty file is an empty mapping. */
  content: unknown;
  /** Line of the value at this path, or of the nearest one around it; counted from 1. */
  lineOf(path: readonly PropertyKey[]): number;
}

/**
 * Reads a YAML file.
 * @throws Error that names the file, and the line where it is not YAML
 */
export async function parseYamlFile(file: string): Promise<YamlFile> {
  // The default: bundled, what this package exports by name would be undefined.
  const { isMap, isScalar, LineCounter, parseDocument } = (await import("yaml")).default;
  const lines = new LineCounter();
  const document = parseDocument(read(file), { lineCounter: lines, prettyErrors: false });
  const [broken] = document.errors;
  if (broken) throw new Error(`${file}:${lines.linePos(broken.pos[0]).line}: ${broken.message}`);
  return { content: plain() ?? {}, lineOf };

  function plain(): unknown {
    try {
      return document.toJS({ maxAliasCount: 100 });
    } catch (error) {
      throw new Error(`${file}: ${(error as Error).message}`);
    }
  }

  function lineOf(path: readonly PropertyKey[]): number {
    for (let length = path.length; length > 0; length -= 1) {
      const around = length === 1 ? document.contents : document.getIn(path.slice(0, length - 1), true);
      // The key's line: a value may begin further down.
      const pair = isMap(around) && around.items.find(({ key }) => isScalar(key) && key.value === path[length - 1]);
      const node = pair ? pair.key : document.getIn(path.slice(0, length), true);
      const { range } = (node ?? {}) as { range?: [number, number, number] };
      if (range) return lines.linePos(range[0]).line;
    }
    return 1;
  }
}

/**
 * A YAML file's content, as a schema has it.
 * @throws Error whose every line begins with `<file>:<line>: ` and says what is wrong there; never quotes values
 */
export async function readYaml<T extends z.ZodType>(file: string, schema: T): Promise<z.output<T>> {
  return (await readYamlLines(file, schema)).data;
}

/** The same, with the lines of what is in it. */
export async function readYamlLines<T extends z.ZodType>(
  file: string,
  schema: T,
): Promise<Pick<YamlFile, "lineOf"> & { data: z.output<T> }> {
  const { content, lineOf } = await parseYamlFile(file);
  const parsed = schema.safeParse(content);
  if (parsed.success) return { data: parsed.data, lineOf };
  const problems = parsed.error.issues.map((issue) => {
    // Of a key too many, the line is the key's.
    const path = issue.code === "unrecognized_keys" ? [...issue.path, issue.keys[0] ?? ""] : issue.path;
    const where = issue.path.length > 0 ? `${issue.path.join(".")}: ` : "";
    return `${file}:${lineOf(path)}: ${where}${issue.message}`;
  });
  throw new Error(problems.join("\n"));
}

function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new Error(`Cannot read ${file}: ${(error as Error).message}`);
  }
}
