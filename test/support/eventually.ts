import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

/** Polls until `condition` holds; fails after 10 s. For what happens soon, but not by the time a call returns. */
export async function eventually(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!(await condition())) {
    assert.ok(performance.now() < deadline, `still false after 10 s: ${condition}`);
    await sleep(10);
  }
}
