import tools from "../generated/tools.json" with { type: "json" };
import type { ListedTool } from "./core/tool.ts";

/**
 * Every tool, as `npm run gen` found it declared. A server lists its tools from here: making all their schemas takes
 * longer than the rest of its start, and is left until the first client has its list.
 */
export const manifest = tools as unknown as readonly ListedTool[];
