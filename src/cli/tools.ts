import { configured, type Settings } from "../config.ts";
import { effectsOf } from "../core/tool.ts";
import { toProtocolTool } from "../mcp/protocol-tool.ts";
import { catalog } from "../tools/catalog.ts";
import { chooseTools } from "../tools/toolsets.ts";
import { paint, print, printPainted, table } from "./table.ts";

/** `mcp-aws-server tools` */
export function printTools(settings: Settings, json: boolean): void {
  const tools = configured("", () => chooseTools(catalog, settings));
  if (json) {
    print(JSON.stringify(tools.map(toProtocolTool), null, 2));
    return;
  }
  const rows = tools.map((tool) => {
    const actions = tool.iam.map(({ action }) => action).join(" ");
    return [tool.name, effectsOf(tool).join("/"), tool.service, actions];
  });
  print(table([["TOOL", "EFFECT", "TOOLSET", "AWS ACTIONS"], ...rows]));
  print("");
  for (const tool of tools) printPainted(`${paint("bold", tool.name)}\n  ${tool.description}\n`);
}
