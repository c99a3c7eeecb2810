import type { Tool } from "../../core/tool.ts";
import { auditSearch } from "./search.ts";

/** In the order a client lists them. */
export const auditTools: readonly Tool[] = [auditSearch];
