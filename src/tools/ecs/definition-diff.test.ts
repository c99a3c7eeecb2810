import assert from "node:assert/strict";
import { test } from "node:test";
import { changesBetween } from "./definition-diff.ts";

const running = (image: string) => ({ family: "web", containerDefinitions: [{ name: "web", image }] });

test("an image is shown whole, so that its tag can be seen; one with credentials in it is not", () => {
  const long = `123456789012.dkr.ecr.us-east-1.amazonaws.com/${"team/".repeat(20)}web`;
  assert.deepEqual(changesBetween(running(`${long}:1.2.3`), running(`${long}:1.2.4`)), [
    `web.image: ${long}:1.2.3 → ${long}:1.2.4`,
  ]);
  const [change = ""] = changesBetween(running("web:1"), running("https://robot:S3cretPull@registry.example/web:2"));
  assert.doesNotMatch(change, /S3cretPull/);
  assert.match(change, /^web\.image: web:1 → \(not a readable image reference\)$/);
});
