import { setTimeout as sleep } from "node:timers/promises";

/**
 * Looks again and again until `done`, first quickly and then every `maxIntervalMs`.
 * @returns the last look; `reached` is false when the time ran out first
 * @throws whatever a look throws, and the signal's reason when it fires
 */
export async function pollUntil<T>(options: {
  look: () => Promise<T>;
  done: (value: T) => boolean;
  timeoutMs: number;
  signal: AbortSignal;
  onLook?: (value: T, elapsedMs: number) => void;
  firstIntervalMs?: number;
  maxIntervalMs?: number;
}): Promise<{ value: T; reached: boolean; elapsedMs: number }> {
  const started = performance.now();
  let interval = options.firstIntervalMs ?? 500;
  for (;;) {
    const value = await options.look();
    const elapsedMs = performance.now() - started;
    options.onLook?.(value, elapsedMs);
    if (options.done(value)) return { value, reached: true, elapsedMs };
    if (elapsedMs + interval > options.timeoutMs) return { value, reached: false, elapsedMs };
    await sleep(interval, undefined, { signal: options.signal }).catch(() => options.signal.throwIfAborted());
    interval = Math.min(interval * 1.5, options.maxIntervalMs ?? 5_000);
  }
}
