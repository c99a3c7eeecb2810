import type { App } from "../app.ts";

/** How long what is left may take once the calls have ended: last rows, signatures, anchors, copies. */
const CLOSE_MS = 30_000;

/**
 * Ends the process once, and orderly: on SIGTERM, SIGINT or when `end` is called, new calls are refused, running ones
 * finish or are recorded, then the process exits with 0. A second signal exits at once.
 */
export function endOrderly(app: App, closeEdge: () => Promise<void>): { end: (why: string) => void } {
  let ending = false;
  let signals = 0;
  const end = (why: string) => {
    // Clients close their end and send SIGTERM soon after: that one is the first signal, not impatience.
    if (why.startsWith("SIG")) signals += 1;
    if (signals > 1) process.exit(130);
    if (ending) return;
    ending = true;
    app.log.info({ why }, "stopping");
    app
      .drain()
      .then(() => {
        setTimeout(() => {
          app.log.error({ after_s: CLOSE_MS / 1000 }, "could not stop orderly: something does not answer");
          process.exit(1);
        }, CLOSE_MS).unref();
      })
      .then(closeEdge)
      .then(() => app.close())
      .then(
        () => process.exit(0),
        (error: unknown) => {
          app.log.error({ err: String(error) }, "could not stop orderly");
          process.exit(1);
        },
      );
  };
  process.on("SIGTERM", () => end("SIGTERM"));
  process.on("SIGINT", () => end("SIGINT"));
  return { end };
}
