import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Principal } from "../../core/call.ts";
import type { Refusal } from "../credentials.ts";
import { challengeFor, insufficientScope, missingScope } from "./challenge.ts";
import { resourceMetadata } from "./resource-metadata.ts";

const advice = { metadataUrl: "https://mcp.example.com/.well-known/oauth-protected-resource", scope: "aws.read" };
const REST = 'scope="aws.read", resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource"';

describe("the challenge", () => {
  test("says that a token was not accepted, and nothing of why", () => {
    for (const reason of ["malformed", "unknown", "expired", "invalid_token"] satisfies Refusal[])
      assert.equal(challengeFor(reason, advice), `Bearer realm="mcp-aws-server", error="invalid_token", ${REST}`);
    assert.equal(challengeFor("missing", advice), `Bearer realm="mcp-aws-server", ${REST}`);
    assert.equal(challengeFor("certificate", advice), `Bearer realm="mcp-aws-server", ${REST}`);
    const forbidden = `Bearer realm="mcp-aws-server", error="insufficient_scope", ${REST}`;
    assert.equal(challengeFor("unmapped", advice), forbidden);
    assert.equal(insufficientScope(advice, "aws.read"), forbidden);
  });

  test("names no scope where roles come from claims alone", () => {
    assert.doesNotMatch(challengeFor("missing", { ...advice, scope: undefined }), /scope=/);
  });

  test("without OAuth is the realm", () => {
    for (const reason of ["missing", "invalid_token", "unmapped"] satisfies Refusal[])
      assert.equal(challengeFor(reason, undefined), 'Bearer realm="mcp-aws-server"');
  });
});

describe("the scope that would help", () => {
  const scopes = [
    { scope: "read", roles: ["viewer"] },
    { scope: "night", roles: ["auditor"] },
    { scope: "write", roles: ["operator"] },
    { scope: "write", roles: ["releaser"] },
    { scope: "all", roles: ["operator", "admin"] },
  ];
  const needs: Record<string, (roles: readonly string[]) => boolean> = {
    stop: (roles) => roles.includes("operator"),
    deploy: (roles) => roles.includes("admin"),
    release: (roles) => roles.includes("releaser") && roles.includes("viewer"),
    never: () => false,
    // As a site's forbid has it.
    clean: (roles) => roles.includes("operator") && !roles.includes("admin"),
  };
  const mayEverUse = ({ roles }: Principal, tool: string) => needs[tool]?.(roles) ?? false;
  const helps = (granted: readonly string[] | undefined, roles: readonly string[], tool: string) => {
    const principal: Principal = { id: "alice", roles, via: "oauth" };
    return missingScope({ principal, ...(granted && { scopes: granted }) }, tool, scopes, mayEverUse);
  };

  test("is the first whose roles, with the caller's own, would do", () => {
    assert.equal(helps(["read"], ["viewer"], "stop"), "write");
    assert.equal(helps(["read"], ["viewer"], "deploy"), "all");
    assert.equal(helps(["read"], ["viewer"], "release"), "write", "both roles that the scope has rules for");
    assert.equal(helps([], ["auditor"], "release"), undefined, "one alone would not do");
  });

  test("is none where the tool is allowed, where none would help, and for callers without scopes", () => {
    assert.equal(helps(["write"], ["operator"], "stop"), undefined);
    assert.equal(helps(["read"], ["viewer"], "never"), undefined);
    assert.equal(helps(["read"], ["viewer"], "no_such_tool"), undefined);
    assert.equal(helps(["all"], ["operator", "admin"], "clean"), undefined, "more roles do not undo a forbid");
    assert.equal(helps(undefined, ["viewer"], "stop"), undefined);
  });

  test("is never one that the token has", () => {
    assert.equal(helps(["read", "write"], ["viewer"], "stop"), "all");
  });
});

describe("the metadata", () => {
  const of = (url: string, scopes: string[] = []) => resourceMetadata(url, "https://issuer.example.com", scopes);

  test("is where RFC 9728 has it, for every path", () => {
    const root = "/.well-known/oauth-protected-resource";
    const cases: [string, string, string[]][] = [
      ["https://a.example/mcp", `https://a.example${root}/mcp`, [`${root}/mcp`, root]],
      ["https://a.example:8443/x/mcp/", `https://a.example:8443${root}/x/mcp`, [`${root}/x/mcp`, root]],
      ["https://a.example", `https://a.example${root}`, [root]],
      ["https://a.example/", `https://a.example${root}`, [root]],
      ["https://a.example/*/:x", `https://a.example${root}/*/:x`, [`${root}/*/:x`, root]],
    ];
    for (const [publicUrl, url, paths] of cases) {
      const metadata = of(publicUrl);
      assert.deepEqual([metadata.url, metadata.paths], [url, paths]);
      assert.equal(metadata.document.resource, publicUrl, "as the audience has it");
    }
  });

  test("names each scope once, and none where there is none", () => {
    assert.deepEqual(of("https://a.example", ["a", "b", "a"]).document.scopes_supported, ["a", "b"]);
    assert.ok(!("scopes_supported" in of("https://a.example").document));
  });
});
