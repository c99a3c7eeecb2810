import assert from "node:assert/strict";
import type { World } from "../../../test/support/world.ts";

type Json = Record<string, unknown>;

/** The reply of a list tool, with rows of any shape. */
export interface Page<Row> {
  summary: { matched: number; counts_complete: boolean };
  items: Row[];
  returned: number;
  truncated: boolean;
  next_cursor?: string;
  regions: string[];
  errors?: { region: string; kind: string; message: string }[];
}

export interface Refusal {
  kind: string;
  message: string;
  next_step: string;
}

/** Ways to call one tool. `world` is asked for late, because tests start theirs in `before`. */
export function caller<Reply>(world: () => World, tool: string) {
  async function ask(args: Json = {}): Promise<Reply> {
    const reply = await world().call(tool, args);
    assert.equal(reply.isError, false, reply.text);
    assert.deepEqual(JSON.parse(reply.text), reply.content, "the text is the structured content");
    return reply.content;
  }

  async function refused(args: Json): Promise<Refusal> {
    const { isError, content, text } = await world().call(tool, args);
    assert.equal(isError, true, text);
    return content.error;
  }

  return { ask, refused };
}

/** The same for a list tool, whose pages can be followed. */
export function lister<Row>(world: () => World, tool: string) {
  const { ask, refused } = caller<Page<Row>>(world, tool);

  /** Follows the cursors to the end. */
  async function askAll(args: Json): Promise<{ items: Row[]; pages: number }> {
    const items: Row[] = [];
    let cursor: string | undefined;
    let pages = 0;
    do {
      const page = await ask({ ...args, ...(cursor && { cursor }) });
      assert.equal(page.returned, page.items.length);
      assert.equal(page.truncated, page.next_cursor !== undefined);
      items.push(...page.items);
      pages += 1;
      cursor = page.next_cursor;
    } while (cursor !== undefined);
    return { items, pages };
  }

  return { ask, askAll, refused };
}

/** How often each operation was sent since the wire log was emptied. */
export function countOperations(world: World): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const operation of world.operations()) counts[operation] = (counts[operation] ?? 0) + 1;
  return counts;
}

/** What was sent with each request of one operation, oldest first. */
export function sentWith(world: World, operation: string): Json[] {
  return world.proxy.requests.filter((request) => request.operation === operation).map(({ parameters }) => parameters);
}
