import type * as z from "zod";

/** Nothing of ours is nested deeper. */
const MAX_DEPTH = 100;
const BLANK = /[ \t\n\r]*/y;
const STRING = /"(?:[^"\\\p{Cc}]|[\x7f-\x9f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/uy;
const SCALAR = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null/y;

/**
 * A JSON text's content, as a schema has it.
 * @param name of the file, or of whatever holds the text
 * @throws Error with a line for each thing that is wrong, which begins with `<name>:<line>: `; as long as the schema's
 *   messages quote no values, neither do these
 */
export function parseJson<T extends z.ZodType>(name: string, text: string, schema: T): z.output<T> {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    // The parser's own message would quote the text, and often does not say where.
    throw new Error(`${name}:${lineAt(text, locate(text).broken ?? text.length)}: not JSON`);
  }
  const parsed = schema.safeParse(content);
  if (parsed.success) return parsed.data;
  const { offsetOf } = locate(text);
  const problems = parsed.error.issues.map(({ path, message }) => {
    const where = path.length > 0 ? `${path.join(".")}: ` : "";
    return `${name}:${lineAt(text, offsetOf(path))}: ${where}${message}`;
  });
  throw new Error(problems.join("\n"));
}

export interface Located {
  /** Where the text stops being JSON; undefined when it is JSON all the way. */
  broken: number | undefined;
  /** Where the value at this path begins, or the nearest one around it. */
  offsetOf(path: readonly PropertyKey[]): number;
}

/** Finds out what stands where in a JSON text. */
export function locate(text: string): Located {
  const offsets = new Map<string, number>();
  let at = 0;
  let broken: number | undefined;
  try {
    value([]);
    skip(BLANK);
    if (at < text.length) throw new Broken();
  } catch (error) {
    if (!(error instanceof Broken)) throw error;
    broken = at;
  }
  return {
    broken,
    offsetOf(path) {
      for (let length = path.length; length > 0; length -= 1) {
        const offset = offsets.get(keyOf(path.slice(0, length)));
        if (offset !== undefined) return offset;
      }
      return offsets.get(keyOf([])) ?? 0;
    },
  };

  function value(path: readonly PropertyKey[]): void {
    skip(BLANK);
    offsets.set(keyOf(path), at);
    if (path.length > MAX_DEPTH) throw new Broken();
    if (take("{")) members(path);
    else if (take("[")) elements(path);
    else if (!skip(STRING) && !skip(SCALAR)) throw new Broken();
  }

  function members(path: readonly PropertyKey[]): void {
    if (take("}")) return;
    do {
      skip(BLANK);
      const start = at;
      if (!skip(STRING)) throw new Broken();
      const name: string = JSON.parse(text.slice(start, at));
      must(":");
      value([...path, name]);
    } while (take(","));
    must("}");
  }

  function elements(path: readonly PropertyKey[]): void {
    if (take("]")) return;
    let index = 0;
    do {
      value([...path, index]);
      index += 1;
    } while (take(","));
    must("]");
  }

  function skip(pattern: RegExp): boolean {
    pattern.lastIndex = at;
    const matched = pattern.test(text);
    if (matched) at = pattern.lastIndex;
    return matched;
  }

  function take(mark: string): boolean {
    skip(BLANK);
    if (text[at] !== mark) return false;
    at += 1;
    return true;
  }

  function must(mark: string): void {
    if (!take(mark)) throw new Broken();
  }
}

class Broken extends Error {}

function keyOf(path: readonly PropertyKey[]): string {
  return JSON.stringify(path.map(String));
}

function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split("\n").length;
}
