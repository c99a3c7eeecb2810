import { toProtocolTool } from "../mcp/tool-list.ts";
import { catalog } from "../tools/catalog.ts";
import { paint, print, table } from "./table.ts";

/** `mcp-aws-server tools` */
export function printTools({ json }: { json?: boolean }): void {
  if (json) {
    print(JSON.stringify(catalog.map(toProtocolTool), null, 2));
    return;
  }
  const rows = catalog.map((tool) => {
    const actions = tool.iam.map(({ action }) => action).join(" ");
    return [tool.name, tool.effect, actions];
  });
  print(table([["TOOL", "EFFECT", "AWS ACTIONS"], ...rows]));
  print("");
  for (const tool of catalog) print(`${paint("bold", tool.name)}\n  ${tool.description}\n`);
}
