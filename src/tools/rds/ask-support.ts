import assert from "node:assert/strict";
import type { RespondBody } from "../../../test/support/faults.ts";
import type { World } from "../../../test/support/world.ts";

/** Ways to call the tools of this folder. `world` is asked for late, because tests start theirs in `before`. */
export function asker(world: () => World) {
  /** The reply of a call that succeeds. */
  async function ask(tool: string, args: Record<string, unknown> = {}) {
    const reply = await world().call(tool, args);
    assert.equal(reply.isError, false, reply.text);
    assert.deepEqual(JSON.parse(reply.text), reply.content, "the text is the structured content");
    return reply.content;
  }

  /** The error of a call that does not. */
  async function refused(tool: string, args: Record<string, unknown> = {}) {
    const reply = await world().call(tool, args);
    assert.equal(reply.isError, true, reply.text);
    return reply.content.error;
  }

  /** Every item, by following the cursors to the end. */
  async function askAll(tool: string, args: Record<string, unknown> = {}) {
    const items: Record<string, unknown>[] = [];
    let pages = 0;
    let cursor: string | undefined;
    do {
      const page = await ask(tool, { ...args, ...(cursor && { cursor }) });
      assert.equal(page.returned, page.items.length);
      assert.equal(page.truncated, page.next_cursor !== undefined);
      items.push(...page.items);
      cursor = page.next_cursor;
      pages += 1;
    } while (cursor !== undefined);
    return { items, pages };
  }

  /** From now on RDS (or another service) answers this to an operation. */
  const respond = (operation: string, body: string | RespondBody) =>
    world().proxy.ruleFirst({ operation, fault: { kind: "respond", status: 200, body } });

  const sent = (operation: string) => world().proxy.requests.filter((request) => request.operation === operation);

  return { ask, askAll, refused, respond, sent };
}
