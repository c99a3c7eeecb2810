import assert from "node:assert/strict";
import type { World } from "./world.ts";

/** The reply of a list tool, as far as every one of them has it. */
export interface ListReply<I> {
  summary: { matched: number; by_state: Record<string, number>; counts_complete: boolean };
  items: I[];
  returned: number;
  truncated: boolean;
  next_cursor?: string;
  as_of: string;
  regions: string[];
  errors?: { region: string; kind: string; message: string }[];
}

export interface ListedInstance {
  instance_id: string;
  name?: string;
  state: string;
  region: string;
  tags?: Record<string, string>;
  tags_omitted?: number;
}

interface Refusal {
  kind: string;
  message: string;
  retryable: boolean;
  next_step: string;
}

/** Ways to call ec2_list_instances. `world` is asked for late, because tests start theirs in `before`. */
export function instanceLister(world: () => World) {
  async function list(args: Record<string, unknown> = {}): Promise<ListReply<ListedInstance>> {
    const reply = await world().call("ec2_list_instances", args);
    assert.equal(reply.isError, false, reply.text);
    assert.deepEqual(JSON.parse(reply.text), reply.content, "the text is the structured content");
    return reply.content;
  }

  /** Follows the cursors to the end. */
  async function listAll(args: Record<string, unknown>): Promise<ListedInstance[]> {
    const items: ListedInstance[] = [];
    let cursor = typeof args.cursor === "string" ? args.cursor : undefined;
    do {
      const page = await list({ ...args, ...(cursor && { cursor }) });
      assert.equal(page.returned, page.items.length);
      assert.equal(page.truncated, page.next_cursor !== undefined);
      items.push(...page.items);
      cursor = page.next_cursor;
    } while (cursor !== undefined);
    return items;
  }

  async function refused(args: Record<string, unknown>): Promise<Refusal> {
    const { isError, content } = await world().call("ec2_list_instances", args);
    assert.equal(isError, true);
    return content.error;
  }

  return { list, listAll, refused };
}

export const idsOf = (items: readonly ListedInstance[]) => items.map((item) => item.instance_id).sort();
