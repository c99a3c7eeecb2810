import type * as z from "zod";
import { ToolError } from "../core/errors.ts";
import { cleanText } from "../core/text.ts";
import type { Tool } from "../core/tool.ts";

const MAX_PROBLEMS = 5;

/**
 * The arguments as the tool declares them, defaults filled in.
 * @throws ToolError `invalid_input` that names what is wrong, unknown keys included
 */
export function validate(tool: Tool, given: unknown): unknown {
  const parsed = (tool.input as z.ZodType).safeParse(given ?? {});
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.slice(0, MAX_PROBLEMS).map(({ path, message }) => {
    const where = path.map(String).join(".");
    return cleanText(where ? `${where}: ${message}` : message, 200);
  });
  throw new ToolError("invalid_input", problems.join("; "), {
    nextStep: `Correct the arguments; ${tool.name} takes ${Object.keys(tool.input.shape).join(", ")}.`,
  });
}
