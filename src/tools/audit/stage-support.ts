import type { Stage } from "../../../test/support/stage.ts";

/** The trail of the test's own server: by then it has rows, and AWS is not asked. */
export async function stageAudit(): Promise<Stage> {
  return { audit_search: { calls: [{ limit: 5 }, { since: "1h", outcome: "success" }] } };
}
