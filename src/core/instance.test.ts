import assert from "node:assert/strict";
import { hostname } from "node:os";
import { test } from "node:test";
import fc from "fast-check";
import { instanceText, nameOfHost, parseInstance, thisInstance } from "./instance.ts";

test("this process is named by host, process id and run", () => {
  assert.match(instanceText(thisInstance()), /^[^\s/]+\/\d+\/[0-9a-f]{8}$/);
  const { pid, host } = thisInstance();
  assert.equal(pid, process.pid);
  assert.ok(host.startsWith(nameOfHost(hostname())));
  // Hosts and containers may share a name: boot and process table tell them apart.
  if (process.platform === "linux") assert.match(host.slice(nameOfHost(hostname()).length), /^\.[0-9a-f]{8}$/);
  assert.equal(thisInstance(), thisInstance());
});

test("whatever the host is called, its processes can be told from their text", () => {
  const run = fc.constantFrom("00000000", "0a1b2c3d");
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 400 }), fc.nat(), run, (name, pid, run) => {
      const instance = { host: nameOfHost(name), pid, run };
      assert.deepEqual(parseInstance(instanceText(instance)), instance);
    }),
  );
  assert.equal(nameOfHost("a\u202eb\u0007/c d"), "ab-c-d");
  assert.equal(nameOfHost("\u200b"), "unknown");
});

test("what is no instance is none", () => {
  for (const text of [
    undefined,
    null,
    7,
    "",
    "host/1",
    "host/x/0a1b2c3d",
    "a/b/1/0a1b2c3d",
    "h/1/0A1B2C3D",
    "h/1/0a",
  ]) {
    assert.equal(parseInstance(text), undefined, String(text));
  }
});
