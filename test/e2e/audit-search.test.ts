import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ROLES } from "../../src/core/call.ts";
import { openScene, type Scene } from "../support/scene.ts";
import { call, connectHttp, temporaryHome } from "../support/server.ts";

// Who may search the trail: admins, and whom the site names.

const SITE = '@id("reviewer") permit (principal == User::"viewer", action == Action::"audit_search", resource);';
let scene: Scene;
let site: Scene;

before(async () => {
  scene = await openScene();
  const home = temporaryHome();
  const file = join(home, "site.cedar");
  writeFileSync(file, SITE);
  site = await openScene({ home, args: ["--policy-files", file] });
});
after(async () => {
  await scene?.close();
  await site?.close();
});

for (const [where, may] of [
  ["built in", { viewer: false, operator: false, admin: true }],
  ["with a site policy", { viewer: true, operator: false, admin: true }],
] as const) {
  for (const role of ROLES) {
    test(`${where}: ${role} ${may[role] ? "may" : "may not"} search, and the list says so`, async () => {
      const { server, keys, rows } = where === "built in" ? scene : site;
      const client = await connectHttp(server.url, { era: "modern", key: keys[role] });
      const { tools } = await client.listTools();
      assert.equal(
        tools.some(({ name }) => name === "audit_search"),
        may[role],
      );
      const { content, isError } = await call(client, "audit_search", { since: "1h" });
      assert.deepEqual([isError, content.error?.kind], [!may[role], may[role] ? undefined : "denied"]);
      const last = (await rows()).at(-1);
      assert.deepEqual([last?.operation, last?.body?.effect, last?.user], ["audit_search", "audit", role]);
      await client.close();
    });
  }
}

test("an admin finds a call, and by its id alone everything about it, page after page", async () => {
  const client = await connectHttp(scene.server.url, { era: "modern", key: scene.keys.admin });
  for (let i = 0; i < 3; i += 1) await call(client, "ec2_list_instances", { limit: 7 });
  const found = await call(client, "audit_search", { tool: "ec2_list_instances", user: "admin", limit: 2 });
  assert.deepEqual([found.content.summary.matched, found.content.returned], [3, 2]);
  const cursor = found.content.next_cursor;
  const rest = await call(client, "audit_search", { tool: "ec2_list_instances", user: "admin", limit: 2, cursor });
  assert.deepEqual([rest.content.returned, rest.content.next_cursor], [1, undefined]);
  const { call_id } = rest.content.items[0];
  const { content } = await call(client, "audit_search", { call_id });
  assert.deepEqual(JSON.parse(content.items[0].arguments), { limit: 7 });
  assert.match(content.items[0].attempts[0], /^ec2:DescribeInstances us-east-1 ok 200 /);
  const other = await call(client, "audit_search", { tool: "ec2_stop_instance", cursor });
  assert.equal(other.content.error.kind, "invalid_input");
  await client.close();
});
