import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { ClientCertificate } from "./credentials.ts";
import { loadPrincipals } from "./principals.ts";

const directory = mkdtempSync(join(tmpdir(), "mcp-aws-principals-"));
after(() => rmSync(directory, { recursive: true, force: true }));

function load(text: string) {
  const file = join(directory, "principals.yaml");
  writeFileSync(file, text);
  return loadPrincipals(file);
}

const certificate = (subject: string, ...names: string[]): ClientCertificate => ({
  subject,
  names,
  thumbprint: "",
  validTo: Number.POSITIVE_INFINITY,
  current: () => true,
});

test("without a file: the built-in roles, and nobody by token or certificate", async () => {
  const principals = await loadPrincipals(undefined);
  assert.deepEqual([...principals.roles], ["viewer", "operator", "admin"]);
  assert.deepEqual(principals.hasRulesFor, { certificates: false, oauth: false });
  assert.deepEqual(principals.ofToken({ sub: "admin", roles: ["admin"] }, ["admin"]), []);
  assert.equal(principals.ofCertificate(certificate("CN=admin")), undefined);
});

test("certificates: the first rule that fits, by subject or by name, and no other", async () => {
  const { ofCertificate } = await load(`
roles: [robot]
certificates:
  - subject: CN=ci, O=Example\\, Inc.
    roles: [operator]
  - subject: CN=alice,O=Example
    user: alice@example.org
    roles: [admin, viewer]
  - name: URI:spiffe://example.org/agents/*
    roles: [robot]
  - name: DNS:ci.example.org
    user: ci-dns
    roles: [viewer]
`);
  const idOf = (...[subject, ...names]: Parameters<typeof certificate>) =>
    ofCertificate(certificate(subject, ...names))?.id;
  assert.deepEqual(ofCertificate(certificate("CN=ci,O=Example\\, Inc.")), { id: "ci", roles: ["operator"] });
  const alice = { id: "alice@example.org", roles: ["admin", "viewer"] };
  assert.deepEqual(ofCertificate(certificate("CN=alice,O=Example", "DNS:ci.example.org")), alice);
  assert.equal(idOf("CN=x", "URI:spiffe://example.org/agents/7"), "spiffe://example.org/agents/7");
  assert.equal(idOf("CN=x", "DNS:other", "DNS:ci.example.org"), "ci-dns");
  for (const [subject = "", ...names] of [
    ["CN=alice"],
    ["O=Example,CN=alice"],
    ["CN=alice,O=Example,C=DE"],
    ["CN=alice\\,O=Example"],
    ["cn=alice,O=Example"],
    ["CN=x", "URI:spiffe://example.org/agent"],
    ["CN=x", "DNS:spiffe://example.org/agents/7"],
    ["CN=x", "email:ci.example.org"],
    ["CN=x", "DNS:ci.example.org.evil"],
  ])
    assert.equal(idOf(subject, ...names), undefined, `${subject} ${names}`);
});

test("tokens: every rule that fits adds its roles, scopes and claims alike", async () => {
  const { ofToken, scopes } = await load(`
oauth:
  - { scope: aws.read, roles: [viewer] }
  - { scope: aws.write, roles: [operator] }
  - { claim: groups, value: platform, roles: [admin] }
  - { claim: department, value: ops, roles: [operator] }
`);
  assert.deepEqual(ofToken({}, []), []);
  assert.deepEqual(ofToken({}, ["aws.read", "other"]), ["viewer"]);
  assert.deepEqual(ofToken({ groups: ["x", "platform"], department: "ops" }, ["aws.write"]), ["operator", "admin"]);
  assert.deepEqual(ofToken({ groups: "platform" }, []), ["admin"]);
  assert.deepEqual(ofToken({ groups: "platform-guests", department: ["dev"] }, ["aws.writer", "AWS.WRITE"]), []);
  assert.deepEqual(ofToken({ groups: { platform: true } }, []), []);
  assert.deepEqual(ofToken(JSON.parse('{"__proto__":{"department":"ops"}}'), []), []);
  assert.deepEqual(
    scopes.map(({ scope }) => scope),
    ["aws.read", "aws.write"],
  );
});

test("what cannot be used says where", async () => {
  const cases: [text: string, problem: RegExp][] = [
    ["oauth:\n  - scope: x\n    roles: [root]\n", /:3: oauth\.0\.roles: there is no role root$/],
    ["certificates:\n  - subject: CN=a\n    roles: []\n", /:3: certificates\.0\.roles: /],
    ["certificates:\n  - roles: [viewer]\n", /:2: .*subject or name/],
    ["certificates:\n  - name: spiffe://x\n    roles: [viewer]\n", /:2: /],
    ["oauth:\n  - scope: two words\n    roles: [viewer]\n", /:2: /],
    ["oauth:\n  - claim: groups\n    roles: [viewer]\n", /:2: .*claim and value/],
    ["roles: [Admin]\n", /:1: roles\.0: not a role's name/],
    ["role: [x]\n", /:1: /],
    ["roles:\n\t- x\n", /:2: /],
  ];
  for (const [text, problem] of cases) await assert.rejects(load(text), { message: problem }, text);
});
