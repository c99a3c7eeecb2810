import type { App } from "../app.ts";

/**
 * Ends the process once, and orderly: on SIGTERM, SIGINT or when `end` is called, new calls are refused, running ones
 * finish or are recorded, then the process exits with 0. A second signal exits at once.
 */
export function endOrderly(
  app: App,
  edge: { beforeClose?: () => void; afterClose: () => Promise<void> },
): { end: (why: string) => void } {
  let ending = false;
  const end = (why: string) => {
    if (ending) {
      if (why.startsWith("SIG")) process.exit(130);
      return;
    }
    ending = true;
    app.log.info({ why }, "stopping");
    edge.beforeClose?.();
    app
      .close()
      .then(edge.afterClose)
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
