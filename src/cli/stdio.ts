import { stdioPrincipal } from "../access/authenticate.ts";
import { createApp } from "../app.ts";
import type { Settings } from "../config.ts";
import { serveStdio } from "../mcp/stdio.ts";
import { captureOutput } from "../telemetry/log.ts";
import { endOrderly } from "./lifecycle.ts";
import { knownRoles } from "./roles.ts";

/** `mcp-aws-server`: serves the client that started this process, until it goes away. */
export async function runStdio(settings: Settings): Promise<void> {
  const roles = await knownRoles(settings);
  const app = await createApp(settings, process.env, "stdio", roles);
  captureOutput(app.log);
  await app.start();
  const { end } = endOrderly(app, () => handle.close());
  const handle = serveStdio({
    createServer: app.createServer,
    principal: stdioPrincipal(settings.user, settings.role),
    maxMessageBytes: settings.max_body_bytes,
    log: app.log,
    onEnd: () => end("client closed the connection"),
  });
}
