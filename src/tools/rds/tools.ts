import type { Tool } from "../../core/tool.ts";

/** In the order a client lists them. */
export const rdsTools: readonly Tool[] = [];
