import { createApp } from "../app.ts";
import { localUser, type Settings } from "../config.ts";
import { serveStdio } from "../mcp/stdio.ts";
import { endOrderly } from "./lifecycle.ts";

const WARM_UP_MS = 500;

/** `mcp-aws-server`: serves the client that started this process, until it goes away. */
export async function runStdio(settings: Settings): Promise<void> {
  const app = createApp(settings, process.env, "stdio");
  const { end } = endOrderly(app, { afterClose: () => handle.close() });
  const handle = serveStdio({
    createServer: app.createServer,
    principal: { ...localUser(settings), roles: [settings.role] },
    maxMessageBytes: settings.max_body_bytes,
    log: app.log,
    onEnd: () => end("client closed the connection"),
  });
  // Once the client has had time to get its list of tools.
  setTimeout(() => void app.warmUp(), WARM_UP_MS).unref();
}
