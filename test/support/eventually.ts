import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

/** Polls until `condition` holds; fails after `timeoutMs` (10 s). For what happens soon, but not by the time a call returns. */
export async function eventually(condition: () => boolean | Promise<boolean>, timeoutMs = 10_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await condition())) {
    assert.ok(performance.now() < deadline, `still false after ${timeoutMs / 1_000} s: ${condition}`);
    await sleep(10);
  }
}
