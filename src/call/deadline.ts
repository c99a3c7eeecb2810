import { ToolError } from "../core/errors.ts";

/** The one signal of a call. It fires for whichever comes first, and its reason is the error the call ends with. */
export interface CallSignal extends Disposable {
  signal: AbortSignal;
  /** The work's result, or the signal's reason as soon as it fires; for work that cannot be interrupted, only left. */
  race<T>(work: Promise<T>): Promise<T>;
}

export function callSignal(sources: { client: AbortSignal; shutdown: AbortSignal; deadlineS: number }): CallSignal {
  const controller = new AbortController();
  const { signal } = controller;
  const onClient = () => controller.abort(cancelled("The client cancelled the call."));
  const onShutdown = () => controller.abort(cancelled("The server was shut down before the call ended."));
  const timer = setTimeout(() => controller.abort(outOfTime(sources.deadlineS)), sources.deadlineS * 1000);
  sources.client.addEventListener("abort", onClient, { once: true });
  sources.shutdown.addEventListener("abort", onShutdown, { once: true });
  if (sources.client.aborted) onClient();
  if (sources.shutdown.aborted) onShutdown();
  return {
    signal,
    async race(work) {
      const { promise: fired, reject } = Promise.withResolvers<never>();
      const onFired = () => reject(signal.reason);
      signal.addEventListener("abort", onFired, { once: true });
      if (signal.aborted) onFired();
      try {
        return await Promise.race([work, fired]);
      } finally {
        signal.removeEventListener("abort", onFired);
      }
    },
    [Symbol.dispose]() {
      clearTimeout(timer);
      sources.client.removeEventListener("abort", onClient);
      sources.shutdown.removeEventListener("abort", onShutdown);
    },
  };
}

function cancelled(message: string): ToolError {
  return new ToolError("cancelled", message, { nextStep: "Nothing to do; call again if the answer is still wanted." });
}

function outOfTime(seconds: number): ToolError {
  return new ToolError("timeout", `The call took longer than ${seconds} s.`, {
    nextStep: "Try again, with a narrower request if it is a large one.",
  });
}
