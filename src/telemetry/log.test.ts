import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import { createLog } from "./log.ts";

function captured(isTTY: boolean) {
  const stream = new PassThrough() as unknown as NodeJS.WriteStream;
  stream.isTTY = isTTY;
  return {
    stream,
    lines: () =>
      String((stream as unknown as PassThrough).read() ?? "")
        .split("\n")
        .filter(Boolean),
  };
}

test("one JSON object a line, with level, time and fields", () => {
  const { stream, lines } = captured(false);
  createLog("info", stream).warn({ tool: "ec2_list_instances", n: 1 }, "something happened");
  const [line, ...more] = lines();
  assert.equal(more.length, 0);
  const { time, ...rest } = JSON.parse(line ?? "");
  assert.match(time, /^\d{4}-\d\d-\d\dT.*Z$/);
  assert.deepEqual(rest, {
    level: "warn",
    service: "mcp-aws-server",
    tool: "ec2_list_instances",
    n: 1,
    msg: "something happened",
  });
});

test("text in a field cannot forge a line, neither as JSON nor on a terminal", () => {
  for (const isTTY of [false, true]) {
    const { stream, lines } = captured(isTTY);
    createLog("info", stream).info({ name: 'x\n{"level":"error","msg":"forged"}\u001b[2J' }, "real\nforged");
    const written = lines();
    assert.equal(written.length, 1);
    assert.ok(!written[0]?.includes("\u001b"));
  }
});

test("a terminal gets a readable line", () => {
  const { stream, lines } = captured(true);
  createLog("info", stream).info({ tool: "ec2_list_instances", n: 1, nested: { a: 1 } }, "done");
  assert.match(lines()[0] ?? "", /^\d\d:\d\d:\d\d INFO {2}done tool=ec2_list_instances n=1 nested=\{"a":1\}$/);
});

test("what is below the level is not written, and silent writes nothing", () => {
  const warn = captured(false);
  const log = createLog("warn", warn.stream);
  log.info({}, "no");
  log.debug({}, "no");
  log.error({}, "yes");
  assert.equal(warn.lines().length, 1);
  const silent = captured(false);
  createLog("silent", silent.stream).error({}, "no");
  assert.equal(silent.lines().length, 0);
});

test("what libraries, Node and a defect would write are lines of the log, and standard output stays the protocol's", () => {
  const program = `
    const { createLog, captureOutput } = await import(${JSON.stringify(new URL("./log.ts", import.meta.url).href)});
    captureOutput(createLog("info"));
    console.log("on\\n{\\"forged\\":1}");
    console.error(new Error("library"));
    process.emitWarning("careful\\n\\u001b[2J");
    setTimeout(() => { throw new Error("defect\\n\\u202e"); }, 50);`;
  const args = ["--input-type=module", "--eval", program];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  assert.equal(status, 1);
  assert.equal(stdout, "");
  const entries = stderr
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as { msg: string; err: string });
  assert.deepEqual(
    entries.map(({ msg }) => msg),
    ["a library reports", "a library reports", "Node warns", "stopped by a defect"],
  );
  assert.match(entries[3]?.err ?? "", /^Error: defect/);
  assert.doesNotMatch(stderr.replaceAll("\n", ""), /[\p{Cc}\p{Cf}]/u);
});
