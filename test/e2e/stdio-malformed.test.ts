import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import { temporaryHome } from "../support/server.ts";
import { initialize, legacyRequest, modernRequest, StdioWire } from "../support/wire.ts";

// Whatever comes in on standard input is answered, standard output carries messages only, and the next one is served.

const LIMIT = 262_144;

for (const era of ["legacy", "modern"] as const) {
  describe(era, () => {
    let wire: StdioWire;
    let count = 0;
    const list = () => {
      count += 1;
      const id = `list-${count}`;
      return era === "legacy" ? legacyRequest("tools/list", {}, id) : modernRequest("tools/list", {}, {}, id);
    };
    const served = async () => assert.ok((await wire.request(list())).result.tools.length > 0);

    before(async () => {
      wire = new StdioWire({ home: temporaryHome() });
      if (era === "legacy") {
        await wire.request(initialize());
        wire.send({ jsonrpc: "2.0", method: "notifications/initialized" });
      }
      await served();
    });
    after(async () => {
      assert.equal(await wire.end(), 0, wire.stderr);
      assert.deepEqual(wire.noise, []);
      assert.doesNotMatch(wire.stderr, /unhandled|uncaught| {4}at /i);
    });

    const cases: [string, string | Buffer, number, unknown][] = [
      ["not JSON", "{nope", -32700, null],
      ["bytes", Buffer.from([0xff, 0xfe, 0x00, 0x80]), -32700, null],
      ["a string", '"hello"', -32600, null],
      ["null", "null", -32600, null],
      ["a batch", "[]", -32600, null],
      ["an empty object", "{}", -32600, null],
      ["no version", '{"id":1,"method":"ping"}', -32600, 1],
      ["method of another type", '{"jsonrpc":"2.0","id":"x","method":5}', -32600, "x"],
      ["params of another type", '{"jsonrpc":"2.0","id":2,"method":"ping","params":"x"}', -32600, 2],
      ["id of another type", '{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}', -32600, null],
      ["half a character", '{"jsonrpc":"2.0","id":3,"method":"\\ud800"}', -32600, null],
      ["too deep", "[".repeat(100_000), -32600, null],
      ["too large", `"${"x".repeat(LIMIT)}"`, -32600, null],
      ["far too large", `"${"x".repeat(LIMIT * 20)}"`, -32600, null],
    ];
    for (const [what, line, code, id] of cases) {
      test(what, async () => {
        const reply = wire.next((message) => message.error !== undefined);
        wire.send(line);
        const { error, id: answered } = await reply;
        assert.equal(error?.code, code, JSON.stringify(error));
        assert.equal(answered, id);
        assert.doesNotMatch(error?.message ?? "", /node_modules|\.ts:\d|\/home\/|\/tmp\//);
        await served();
      });
    }

    test("the limit itself is not too large", async () => {
      const message = list();
      const bare = JSON.stringify({ ...message, params: { ...message.params, pad: "" } }).length;
      const padded = { ...message, params: { ...message.params, pad: "x".repeat(LIMIT - bare) } };
      assert.equal(JSON.stringify(padded).length, LIMIT);
      assert.ok((await wire.request(padded)).result.tools.length > 0);
    });

    test("blank lines, carriage returns, and a message in many pieces", async () => {
      wire.send("");
      wire.send("   ");
      const message = list();
      const reply = wire.next(({ id }) => id === message.id);
      const text = Buffer.from(`${JSON.stringify({ ...message, params: { ...message.params, note: "ü→🙂" } })}\r\n`);
      for (let at = 0; at < text.length; at += 7) {
        wire.child.stdin.write(text.subarray(at, at + 7));
        await new Promise(setImmediate);
      }
      assert.ok((await reply).result.tools.length > 0);
    });

    test("an unknown method and an unknown tool", async () => {
      const ask = (method: string, params: object, id: string) =>
        wire.request(era === "legacy" ? legacyRequest(method, params, id) : modernRequest(method, params, {}, id));
      assert.equal((await ask("tools/destroy", {}, "m")).error?.code, -32601);
      const { error } = await ask("tools/call", { name: "nope" }, "t");
      assert.equal(error?.code, -32602);
      assert.match(error?.message ?? "", /nope.*ec2_list_instances/);
      assert.equal((await ask("tools/list", { cursor: 5 }, "c")).error?.code, -32602);
    });
  });
}

test("the end of the input ends the server, in the middle of a line, too", async () => {
  const wire = new StdioWire({ home: temporaryHome() });
  await wire.request(modernRequest("tools/list"));
  wire.child.stdin.write('{"jsonrpc":"2.0","id":1,"meth');
  assert.equal(await wire.end(), 0, wire.stderr);
  assert.deepEqual(wire.noise, []);
});

test("a client that stops listening ends the server", async () => {
  const wire = new StdioWire({ home: temporaryHome() });
  await wire.request(modernRequest("tools/list"));
  const exited = once(wire.child, "exit");
  wire.child.stdout.destroy();
  wire.send(modernRequest("tools/list"));
  const [code, signal] = await exited;
  assert.equal(code, 0, `${signal} ${wire.stderr}`);
});
