import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
import { type Moto, startMoto } from "../support/moto.ts";
import { readRows } from "../support/scene.ts";
import { call, connectHttp, runCli, startHttpServer, temporaryHome } from "../support/server.ts";

let moto: Moto;
let proxy: FaultProxy;
before(async () => {
  moto = await startMoto();
  proxy = await startFaultProxy({ target: moto.url });
});
after(async () => {
  await proxy?.close();
  await moto?.stop();
});

const forbid = (id: string) =>
  `@id("${id}") forbid (principal, action == Action::"ec2_list_instances", resource) when { resource.region == "us-east-1" };\n`;

test("policies reload under load: every call is answered by one set, a broken set changes nothing, and it is on record", async () => {
  const home = temporaryHome();
  const [first, second] = [join(home, "a.cedar"), join(home, "b.cedar")];
  const write = (set: number) => {
    writeFileSync(first, forbid(`a-${set}`));
    writeFileSync(second, forbid(`b-${set}`));
  };
  write(1);
  const args = ["--policy-files", `${first},${second}`, "--calls-per-minute", "0"];
  const server = await startHttpServer({ endpoint: proxy.url, home, args });
  const client = await connectHttp(server.url, { era: "modern" });
  const answers: string[][] = [];
  let loading = true;
  const load = (async () => {
    while (loading) {
      const { content } = await call(client, "ec2_list_instances", {});
      answers.push([...content.error.policies].sort());
    }
  })();
  const seen = (set: number) => () => answers.some(([a]) => a === `a-${set}`);
  try {
    await eventually(seen(1), 30_000);
    write(2);
    await eventually(seen(2), 30_000);
    writeFileSync(first, forbid("a-3"));
    writeFileSync(second, `${forbid("b-3")}\n@id("x") permit (principal`);
    await eventually(() => server.stderr().includes("changed policies cannot be used"), 30_000);
    const count = answers.length;
    await eventually(() => answers.length > count + 20, 30_000);
    assert.deepEqual(answers.at(-1), ["a-2", "b-2"]);
    const { notes } = (await (await fetch(new URL("/readyz", server.url))).json()) as { notes?: string[] };
    assert.ok(
      notes?.some((note) => /changed policies cannot be used/.test(note)),
      JSON.stringify(notes),
    );
    write(4);
    await eventually(seen(4), 30_000);
  } finally {
    loading = false;
    await load.finally(() => server.stop());
    await client.close();
  }
  for (const [a, b, ...others] of answers) {
    assert.deepEqual(others, []);
    assert.equal(a?.replace("a-", ""), b?.replace("b-", ""), "a mixture");
    assert.notEqual(a, "a-3");
  }
  const rows = (await readRows(home)).filter(({ operation }) => operation === "policy_reload" || operation === "start");
  const details = rows.map(({ body }) => body?.detail as { policy_version?: string; error?: { message: string } });
  assert.deepEqual(
    rows.map(({ operation, result }) => [operation, result]),
    [
      ["start", "success"],
      ["policy_reload", "success"],
      ["policy_reload", "invalid_input"],
      ["policy_reload", "success"],
    ],
  );
  assert.equal(new Set(details.map(({ policy_version }) => policy_version)).size, 4);
  assert.match(details[2]?.error?.message ?? "", /b\.cedar:3: /);
});

for (const [what, text, message] of [
  ["malformed", '\n@id("x") permit (principal', /^\S+site\.cedar:2: unexpected end/m],
  [
    "of the wrong type",
    '@id("x")\nforbid (principal, action, resource)\nwhen { context.time.hour == "9" };',
    /^\S+site\.cedar:3: policy x: /m,
  ],
  [
    "nested without end",
    `@id("x") permit (principal, action, resource) when { ${"(".repeat(9_999)} };`,
    /^\S+site\.cedar:1: more than 32 brackets/m,
  ],
  ["ten megabytes", "/".repeat(10_000_000), /site\.cedar: policies may have 256 KB/],
  ["a program", "\u007fELF\u0000\u0001", /site\.cedar:1: this is no text/],
] as const) {
  test(`the server does not start with policies that are ${what}, and says where`, async () => {
    const home = temporaryHome();
    const file = join(home, "site.cedar");
    writeFileSync(file, text);
    const { code, stderr } = await runCli(["--policy-files", file], { home });
    assert.equal(code, 2);
    assert.match(stderr, message);
    assert.doesNotMatch(stderr, /\n\s+at /);
  });
}
