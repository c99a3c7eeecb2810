import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { Principal } from "../core/call.ts";
import { KeyStore } from "./api-key.ts";
import { authenticateHttp, stdioPrincipal } from "./authenticate.ts";

const directory = mkdtempSync(join(tmpdir(), "authenticate-"));
after(() => rmSync(directory, { recursive: true }));
const keys = new KeyStore(directory);
const { token, key } = await keys.createKey({ name: "ci", role: "operator" });
const { token: second } = await keys.createKey({ name: "other", role: "admin" });
const CI: Principal = { id: "ci", roles: ["operator"], via: "api_key" };
const ANONYMOUS: Principal = { id: "anonymous", roles: ["viewer"], via: "anonymous" };

function answer(headers: { authorization?: string; xApiKey?: string }, anonymous?: Principal) {
  const { authorization, xApiKey } = headers;
  const result = authenticateHttp({ authorization, xApiKey }, { keys, anonymous });
  return result.ok ? result.principal : result.reason;
}

test("no header: anonymous where there is such a caller, otherwise missing", () => {
  assert.equal(answer({}), "missing");
  assert.deepEqual(answer({}, ANONYMOUS), ANONYMOUS);
});

test("a key comes as a bearer token or in X-API-Key", () => {
  for (const authorization of [`Bearer ${token}`, `bearer ${token}`, `BEARER    ${token}`]) {
    assert.deepEqual(answer({ authorization }, ANONYMOUS), CI, authorization);
  }
  assert.deepEqual(answer({ xApiKey: token }), CI);
  assert.deepEqual(answer({ authorization: `Bearer ${token}`, xApiKey: token }), CI);
});

test("what is not a key is refused, also where anonymous callers are let in", () => {
  const authorizations = [
    "",
    " ",
    "Bearer",
    "Bearer ",
    token,
    `Basic ${Buffer.from(`ci:${token}`).toString("base64")}`,
    `Token ${token}`,
    `XBearer ${token}`,
    `Bearer${token}`,
    `Bearer\t${token}`,
    `Bearer "${token}"`,
    `Bearer ${token} ${token}`,
    `Bearer ${token}, Bearer ${token}`,
    `Bearer ${token},Bearer ${second}`,
    `Bearer ${token}\n`,
    ` Bearer ${token}`,
    `Bearer ${token.replace("mcpaws", "MCPAWS")}`,
    `Bearer ${"A".repeat(100_000)}`,
    `Bearer ${" ".repeat(100_000)}`,
    `Bearer ${token}${"A".repeat(100_000)}`,
  ];
  for (const anonymous of [undefined, ANONYMOUS]) {
    for (const authorization of authorizations) {
      assert.equal(answer({ authorization }, anonymous), "malformed", authorization.slice(0, 80));
    }
    for (const xApiKey of ["", " ", ` ${token}`, `Bearer ${token}`, `${token}, ${token}`, "x".repeat(100_000)]) {
      assert.equal(answer({ xApiKey }, anonymous), "malformed", xApiKey.slice(0, 80));
    }
  }
});

test("two headers must agree", () => {
  assert.equal(answer({ authorization: `Bearer ${token}`, xApiKey: second }), "malformed");
  assert.equal(answer({ authorization: `Bearer ${token}`, xApiKey: "" }), "malformed");
  assert.equal(answer({ authorization: "Basic Zm9v", xApiKey: token }), "malformed");
});

test("a thousand random tokens are unknown, with known and unknown ids", () => {
  for (let i = 0; i < 1000; i++) {
    const id = i % 2 ? key.id : randomBytes(4).toString("hex");
    const guess = `mcpaws_${id}_${randomBytes(32).toString("base64url")}`;
    assert.equal(answer({ authorization: `Bearer ${guess}` }, ANONYMOUS), "unknown");
    assert.equal(answer({ xApiKey: guess }, ANONYMOUS), "unknown");
  }
});

test("a revoked key is unknown", async () => {
  const gone = await keys.createKey({ name: "gone", role: "viewer" });
  await keys.revoke(gone.key.id);
  assert.equal(answer({ xApiKey: gone.token }, ANONYMOUS), "unknown");
});

test("stdio: the configured user, otherwise the user of the operating system", () => {
  assert.deepEqual(stdioPrincipal(" agent-1 ", "admin"), {
    id: "agent-1",
    roles: ["admin"],
    via: "configured_user",
  });
  for (const user of [undefined, "", "  "]) {
    assert.deepEqual(
      stdioPrincipal(user, "viewer", () => "ubuntu"),
      { id: "ubuntu", roles: ["viewer"], via: "os_user" },
    );
  }
  const nameless = (): string => {
    throw new Error("ENOENT: no such user");
  };
  assert.equal(stdioPrincipal(undefined, "viewer", nameless).id, `uid:${process.getuid?.() ?? "unknown"}`);
});

test("stdio: asks the operating system itself", () => {
  assert.equal(stdioPrincipal(undefined, "viewer").id, userInfo().username);
});
