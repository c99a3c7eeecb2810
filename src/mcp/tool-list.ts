import type { Tool as ProtocolTool } from "@modelcontextprotocol/server";
import type { Principal } from "../core/call.ts";
import type { ListedTool } from "../core/tool.ts";

/** The tools as a principal may see them. */
export type ToolList = (principal: Principal) => Promise<ProtocolTool[]>;

/** @param mayList from policy; a tool that nothing could allow is not listed */
export function createToolList(
  tools: readonly ListedTool[],
  mayList: (principal: Principal) => Promise<(tool: ListedTool) => boolean>,
): ToolList {
  return async (principal) => {
    const visible = tools.filter(await mayList(principal));
    return visible.map(({ protocol }) => protocol as ProtocolTool);
  };
}
