import type { Tool as ProtocolTool } from "@modelcontextprotocol/server";
import * as z from "zod";
import { effectsOf, isRead, type Tool } from "../core/tool.ts";

/** What a client and its model read of a tool. Every hint is derived from the effect, so that they cannot contradict. */
export function toProtocolTool(tool: Tool): ProtocolTool {
  return {
    name: tool.name,
    title: tool.title,
    description: tool.description,
    inputSchema: schemaOf(tool.input, "input"),
    outputSchema: schemaOf(tool.output, "output"),
    annotations: {
      readOnlyHint: isRead(tool),
      destructiveHint: effectsOf(tool).some((effect) => effect === "destructive" || effect === "deploy"),
      idempotentHint: tool.idempotent,
      openWorldHint: true,
    },
  };
}

function schemaOf(schema: z.ZodObject, io: "input" | "output"): ProtocolTool["inputSchema"] {
  const { $schema: _dialect, ...json } = z.toJSONSchema(schema, {
    io,
    // Safe integers are what JSON carries anyway; saying so costs 60 characters a field.
    override: ({ jsonSchema }) => {
      // An answer may gain a field some day; only arguments are refused for one too many.
      if (io === "output" && jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties;
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
      if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
    },
  });
  return json as ProtocolTool["inputSchema"];
}
