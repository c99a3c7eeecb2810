import assert from "node:assert/strict";
import { test } from "node:test";
import { isSecretName } from "../core/secret-name.ts";
import { createRedactor } from "./redact.ts";

const redact = createRedactor(new Uint8Array(32).fill(1));

test("secrets are found by the name they stand under", () => {
  const SECRET = [
    "password DB_PASSWORD MasterUserPassword PGPASSWORD dbpassword passwd secret client_secret secretAccessKey token",
    "sessionToken auth_token AuthToken x-api-key apiKey api_key authorization Authorization private_key privateKey",
    "connection_string ConnectionString credential DB_PASS mysql_pwd cookie token_value password_2 --password",
  ];
  for (const name of SECRET.join(" ").split(" ")) {
    assert.ok(isSecretName(name), name);
    assert.match(String((redact({ [name]: "hunter2" }) as Record<string, unknown>)[name]), /^\[redacted:/, name);
  }
  const HARMLESS = [
    "next_token NextToken nextToken client_token ClientToken clientRequestToken cursor next_cursor page_token nextForwardToken",
    "continuation_token max_tokens secret_arn secretArn SecretName password_last_used key_name KeyName id author bypass",
    "token_count credential_type passenger compass PWD instance_id authenticated_via monkey public_key",
  ];
  for (const name of HARMLESS.join(" ").split(" ")) {
    assert.ok(!isSecretName(name), name);
    assert.deepEqual(redact({ [name]: "hunter2" }), { [name]: "hunter2" });
  }
  assert.ok(isSecretName(`${"a_".repeat(500)}password`));
});

test("the time for hostile text grows with its length, not faster", () => {
  const PIECES = [
    "a",
    "eyJ",
    "eyJa.",
    "eyJaaaaa.eyJ",
    "://",
    "://a:",
    "://a:b",
    "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN ",
    "password",
    "password=",
    'password="',
    "password='",
    "password ",
    "--",
    "--a-",
    "--token ",
    "bearer ",
    "bearer aaaaaa",
    "authorization",
    "authorization:",
    "mcpaws_",
    "mcpaws_a_",
    "ghp_",
    "xoxb-",
    "sk-",
    "sk_live_",
    "AKIA",
    "secret",
    "token\t",
    "\\",
    '\\"',
    "cookie: ",
    " ",
    "=",
    "AKIAA",
    "-",
    "@",
    "://@",
  ];
  const time = (text: string, tries: number): number => {
    let best = Number.POSITIVE_INFINITY;
    for (let i = 0; i < tries; i += 1) {
      const start = performance.now();
      redact(text);
      best = Math.min(best, performance.now() - start);
    }
    return best;
  };
  for (const piece of PIECES) {
    const text = (size: number): string => `password= ://a ${piece.repeat(size / piece.length)}`;
    const short = time(text(2 ** 15), 3);
    // 32 times the length; quadratic would be 1,024 times the time. One slow try may be another process's fault.
    const most = 200 * Math.max(short, 1);
    const once = time(text(2 ** 20), 1);
    const long = once < most ? once : time(text(2 ** 20), 3);
    assert.ok(long < most, `${piece}: ${short} ms → ${long} ms`);
  }
});
