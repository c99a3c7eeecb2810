import type { ListedTool } from "../core/tool.ts";

type Named = Pick<ListedTool, "name" | "service">;

/** Which tools are served. Nothing chosen means all; what is excluded is excluded. */
export interface ToolChoice {
  toolsets: readonly string[];
  tools: readonly string[];
  exclude_tools: readonly string[];
}

/** The names of the groups a catalog falls into, in its order. */
export function toolsetsOf(catalog: readonly Named[]): string[] {
  return [...new Set(catalog.map(({ service }) => service))];
}

/**
 * The tools of the chosen groups and the single ones chosen, without the excluded, in the catalog's order.
 * @throws Error that names what does not exist and lists what does
 */
export function chooseTools<T extends Named>(catalog: readonly T[], choice: ToolChoice): T[] {
  const names = catalog.map(({ name }) => name);
  known("toolsets", choice.toolsets, toolsetsOf(catalog));
  known("tools", choice.tools, names);
  known("exclude_tools", choice.exclude_tools, names);
  const all = choice.toolsets.length === 0 && choice.tools.length === 0;
  const chosen = catalog.filter(
    ({ name, service }) =>
      (all || choice.toolsets.includes(service) || choice.tools.includes(name)) && !choice.exclude_tools.includes(name),
  );
  if (chosen.length === 0) throw new Error("toolsets, tools and exclude_tools leave no tool to serve");
  return chosen;
}

function known(setting: string, given: readonly string[], valid: readonly string[]): void {
  const unknown = given.filter((name) => !valid.includes(name));
  if (unknown.length === 0) return;
  throw new Error(`${setting}: there is no ${unknown.join(", ")}; valid: ${valid.join(", ")}`);
}
