import assert from "node:assert/strict";
import { test } from "node:test";
import { hideArguments } from "./hide.ts";

test("what is secret by its place is hidden, its names are kept", () => {
  const given = {
    family: "web",
    environment: [
      { container: "app", name: "GREETING", value: "canary" },
      { name: "not a name: canary" },
      { name: "PIN", value: 1234 },
      "canary",
    ],
    labels: { color: "canary", deep: { er: ["canary"] }, on: true, none: null },
    note: "shown",
  };
  assert.deepEqual(hideArguments(given, ["environment", "labels"]), {
    family: "web",
    environment: [
      { container: "app", name: "GREETING", value: "[hidden]" },
      { name: "[hidden]" },
      { name: "PIN", value: "[hidden]" },
      "[hidden]",
    ],
    labels: { color: "[hidden]", deep: { er: ["[hidden]"] }, on: true, none: null },
    note: "shown",
  });
  assert.deepEqual(hideArguments({ environment: "canary" }, ["environment"]), { environment: "[hidden]" });
  assert.deepEqual(hideArguments({ environment: { name: { x: "canary" } } }, ["environment"]), {
    environment: { name: { x: "[hidden]" } },
  });
});

test("it is hidden in the wrong place, too", () => {
  const wrong = { containers: [{ name: "app", Environment: [{ name: "A", value: "canary" }] }], note: ["shown"] };
  assert.deepEqual(hideArguments(wrong, ["environment"]), {
    containers: [{ name: "app", Environment: [{ name: "A", value: "[hidden]" }] }],
    note: ["shown"],
  });
});

test("what is no object has no arguments to hide", () => {
  for (const given of [undefined, null, "text", 7, ["environment"]]) {
    assert.deepEqual(hideArguments(given, ["environment"]), given);
  }
});
