import { test } from "node:test";
import { assertNoHalfSecrets } from "../../../test/support/half-secrets.ts";
import { rowText } from "./running.ts";

test("the text of a row leaves no half of a secret, however often it had to be cut", () =>
  assertNoHalfSecrets(rowText));
