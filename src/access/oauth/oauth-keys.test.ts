import assert from "node:assert/strict";
import { after, beforeEach, describe, test } from "node:test";
import { type Issuer, signingKey, startIssuer } from "../../../test/support/issuer.ts";
import { metadataUrls } from "./oauth-fetch.ts";
import { IssuerKeys } from "./oauth-keys.ts";

const MINUTE = 60_000;
const issuers: Issuer[] = [];
let clock = 0;
let problems: string[] = [];
let counts: number[] = [];

beforeEach(() => {
  clock = 1_000_000;
  problems = [];
  counts = [];
});
after(() => Promise.all(issuers.map((issuer) => issuer.close())));

async function issuer(path?: string): Promise<Issuer> {
  const started = await startIssuer({ audience: "us", ...(path !== undefined && { path }) });
  issuers.push(started);
  return started;
}

function keysOf(of: Issuer, jwksUrl: string | undefined = `${of.origin}/jwks`): IssuerKeys {
  return new IssuerKeys({
    issuer: of.url,
    jwksUrl,
    onProblem: (problem) => problems.push(problem),
    onKeys: (count) => counts.push(count),
    now: () => clock,
  });
}

const discovered = (of: Issuer) =>
  new IssuerKeys({
    issuer: of.url,
    jwksUrl: undefined,
    onProblem: (problem) => problems.push(problem),
    onKeys: (count) => counts.push(count),
    now: () => clock,
  });

const kids = (set: Awaited<ReturnType<IssuerKeys["current"]>>) => set?.jwks().keys.map(({ kid }) => kid);

describe("when the issuer is asked", () => {
  test("once for many at the same time, and again after ten minutes", async () => {
    const well = await issuer();
    const keys = keysOf(well);
    const sets = await Promise.all(Array.from({ length: 50 }, () => keys.current()));
    assert.deepEqual(kids(sets[0]), ["first"]);
    assert.equal(new Set(sets).size, 1);
    assert.equal(well.requests.length, 1);
    clock += 10 * MINUTE - 1;
    assert.equal(await keys.current(), sets[0]);
    assert.equal(keys.fresh, sets[0]);
    assert.equal(well.requests.length, 1);
    clock += 1;
    assert.equal(keys.fresh, undefined);
    assert.equal(await keys.current(), sets[0], "the same keys are the same set");
    assert.equal(well.requests.length, 2);
    assert.deepEqual(counts, [1], "told once of keys that did not change");
  });

  test("a new key is found when a token names it, but no sooner than 30 s after the last look", async () => {
    const rotating = await issuer();
    const keys = keysOf(rotating);
    const old = await keys.current();
    rotating.keys.push(await signingKey("second"));
    clock += 29_999;
    for (let i = 0; i < 100; i += 1) assert.equal(await keys.renewed(), old);
    assert.equal(rotating.requests.length, 1);
    clock += 1;
    const sets = await Promise.all(Array.from({ length: 50 }, () => keys.renewed()));
    assert.equal(rotating.requests.length, 2);
    assert.deepEqual(kids(sets[0]), ["first", "second"]);
    assert.notEqual(sets[0], old);
    assert.equal(keys.fresh, sets[0]);
    rotating.keys.shift();
    clock += 10 * MINUTE;
    assert.deepEqual(kids(await keys.current()), ["second"], "a key that was taken back is gone");
    rotating.keys.length = 0;
    clock += 10 * MINUTE;
    assert.deepEqual(kids(await keys.current()), [], "all keys taken back are all gone");
  });

  test("no more than every 30 s while it does not answer, whatever is asked", async () => {
    const failing = await issuer();
    failing.mood = { kind: "status", status: 500 };
    const keys = keysOf(failing);
    for (let i = 0; i < 50; i += 1) {
      assert.equal(await keys.current(), undefined);
      assert.equal(await keys.renewed(), undefined);
    }
    assert.equal(failing.requests.length, 1);
    clock += 29_999;
    assert.equal(await keys.current(), undefined);
    assert.equal(failing.requests.length, 1);
    clock += 1;
    await Promise.all(Array.from({ length: 50 }, () => keys.current()));
    assert.equal(failing.requests.length, 2);
    assert.equal(problems.length, 2);
    failing.mood = { kind: "well" };
    clock += 30_000;
    assert.deepEqual(kids(await keys.current()), ["first"]);
  });
});

describe("while the issuer is down", () => {
  test("the keys it had stay in use for a day, then none are", async () => {
    const falling = await issuer();
    const keys = keysOf(falling);
    const held = await keys.current();
    falling.mood = { kind: "down" };
    clock += 24 * 60 * MINUTE - 1;
    assert.equal(await keys.current(), held);
    assert.equal(await keys.renewed(), undefined, "whether it has the key in question cannot be told");
    clock += 1;
    assert.equal(await keys.current(), undefined);
    falling.mood = { kind: "well" };
    clock += 30_000;
    assert.equal(await keys.current(), held);
    assert.deepEqual(counts, [1, 1], "told that they can be had again");
  });

  test("one call waits for an issuer that hangs; the next ones do not", async () => {
    const hanging = await issuer();
    const keys = keysOf(hanging);
    const held = await keys.current();
    hanging.mood = { kind: "slow", ms: 30_000 };
    clock += 10 * MINUTE;
    assert.equal(await keys.current(), held);
    assert.match(problems.join(), /no answer within 5 s/);
    clock += 30_000;
    const before = performance.now();
    assert.equal(await keys.current(), held);
    const waited = performance.now() - before;
    const again = performance.now();
    await keys.renewed();
    assert.equal(hanging.requests.length, 3, "it was asked");
    assert.ok(waited < (performance.now() - again) / 2, "one waited for the answer, the other did not");
  });
});

describe("answers that are not used", () => {
  const cases: [string, (bad: Issuer, other: Issuer) => Issuer["mood"], RegExp][] = [
    ["an error", () => ({ kind: "status", status: 500 }), /\/jwks: answered 500/],
    ["nothing found", () => ({ kind: "status", status: 404 }), /\/jwks: answered 404/],
    ["a redirect", (_, other) => ({ kind: "redirect", to: other.origin }), /\/jwks: answered 302/],
    ["no end of it", () => ({ kind: "huge" }), /\/jwks: answer is larger than 262144 bytes/],
    ["a broken connection", () => ({ kind: "down" }), /\/jwks: (UND_ERR_SOCKET|ECONNRESET)/],
    ["a web page", () => ({ kind: "text", text: "<html>" }), /\/jwks: not JSON/],
    ["a list", () => ({ kind: "text", text: "[]" }), /\/jwks: not a JSON Web Key Set/],
    ["keys that are none", () => ({ kind: "text", text: '{"keys":[1]}' }), /\/jwks: not a JSON Web Key Set/],
    ["null", () => ({ kind: "text", text: "null" }), /\/jwks: not a JSON Web Key Set/],
  ];
  for (const [what, mood, message] of cases) {
    test(what, async () => {
      const [bad, other] = [await issuer(), await issuer()];
      bad.mood = mood(bad, other);
      assert.equal(await keysOf(bad).current(), undefined);
      assert.match(problems.join(), message);
      assert.doesNotMatch(problems.join(), /html|\?/);
      assert.deepEqual(other.requests, [], "nobody was followed anywhere");
    });
  }
});

describe("discovery", () => {
  test("where metadata may be, by the issuer's path", () => {
    const paths = (url: string) => metadataUrls(url).map((each) => new URL(each).pathname);
    for (const root of ["https://issuer.example.com", "https://issuer.example.com/"]) {
      const expected = ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"];
      assert.deepEqual(paths(root), expected);
    }
    assert.deepEqual(paths("https://issuer.example.com/realms/x"), [
      "/.well-known/oauth-authorization-server/realms/x",
      "/.well-known/openid-configuration/realms/x",
      "/realms/x/.well-known/openid-configuration",
    ]);
  });

  for (const path of ["", "/", "/realms/x", "/realms/x/"]) {
    test(`each place is tried, for an issuer at ${path || "the root"}`, async () => {
      const well = await issuer(path);
      for (const place of metadataUrls(well.url)) {
        well.metadataPaths = [new URL(place).pathname];
        assert.deepEqual(kids(await discovered(well).current()), ["first"], place);
      }
      well.metadataPaths = [];
      assert.equal(await discovered(well).current(), undefined);
      assert.match(problems.join(), /answered 404/);
    });
  }

  const wrong: [string, Record<string, unknown>, RegExp][] = [
    ["metadata of another issuer", { issuer: "https://evil.example.com" }, /metadata of another issuer/],
    ["no issuer in it", { issuer: undefined }, /no issuer metadata/],
    ["no jwks_uri", { jwks_uri: undefined }, /no issuer metadata with a jwks_uri/],
    ["a jwks_uri in the clear", { jwks_uri: "http://keys.example.com/jwks" }, /jwks_uri is not https/],
    ["a jwks_uri that only begins like loopback", { jwks_uri: "http://127.0.0.1.example.com/jwks" }, /not https/],
    ["a jwks_uri that is a file", { jwks_uri: "file:///etc/passwd" }, /jwks_uri is not https/],
    ["a jwks_uri that is none", { jwks_uri: "jwks" }, /jwks_uri is not https/],
  ];
  for (const [what, metadata, message] of wrong) {
    test(what, async () => {
      const bad = await issuer();
      bad.metadata = metadata;
      assert.equal(await discovered(bad).current(), undefined);
      assert.match(problems.join(), message);
      assert.ok(!bad.requests.includes("/jwks"));
    });
  }

  test("a slash more makes another issuer", async () => {
    const bad = await issuer("/t");
    bad.metadata = { issuer: `${bad.url}/` };
    assert.equal(await discovered(bad).current(), undefined);
    assert.match(problems.join(), /metadata of another issuer/);
  });
});
