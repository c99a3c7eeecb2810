// The smallest useful server on the same SDK: what starting costs before there is anything of ours.
import { McpServer } from "@modelcontextprotocol/server";
import { serveStdio } from "@modelcontextprotocol/server/stdio";
import * as z from "zod";

serveStdio(() => {
  const server = new McpServer({ name: "one-tool", version: "1.0.0" });
  const inputSchema = z.object({ text: z.string() });
  server.registerTool("echo", { description: "Says it back", inputSchema }, async ({ text }) => ({
    content: [{ type: "text", text }],
  }));
  return server;
});
