import type { Tool as ProtocolTool } from "@modelcontextprotocol/server";
import type { Principal } from "../core/call.ts";
import type { ListedTool } from "../core/tool.ts";

/** The tools as a principal may see them. */
export type ToolList = (principal: Principal) => Promise<ProtocolTool[]>;

/** @param usable from policy: a tool that nothing could allow is not listed */
export function createToolList(
  tools: readonly ListedTool[],
  usable: (principal: Principal) => Promise<ReadonlySet<string>>,
): ToolList {
  return async (principal) => {
    const names = await usable(principal);
    return tools.filter(({ name }) => names.has(name)).map(({ protocol }) => protocol as ProtocolTool);
  };
}
