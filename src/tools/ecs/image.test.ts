import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { isAllowedImage, parseImage, parseRepository } from "./image.ts";

const DIGEST = `sha256:${"0123456789abcdef".repeat(4)}`;
const ECR = "123456789012.dkr.ecr.us-east-1.amazonaws.com";

describe("parseImage", () => {
  const good: [string, object][] = [
    ["nginx", { repository: "docker.io/library/nginx" }],
    ["nginx:1.27", { repository: "docker.io/library/nginx", tag: "1.27" }],
    ["team/web", { repository: "docker.io/team/web" }],
    ["docker.io/nginx", { repository: "docker.io/library/nginx" }],
    ["index.docker.io/team/web:v1", { repository: "docker.io/team/web", tag: "v1" }],
    ["localhost/web", { repository: "localhost/web" }],
    ["localhost:5000/a/b/c:V_1.0-RC", { repository: "localhost:5000/a/b/c", tag: "V_1.0-RC" }],
    ["registry.example:8443/web", { repository: "registry.example:8443/web" }],
    [`${ECR}/team/web:abc`, { repository: `${ECR}/team/web`, tag: "abc" }],
    [`${ECR}/team/web@${DIGEST}`, { repository: `${ECR}/team/web`, digest: DIGEST }],
    [`web:1@${DIGEST}`, { repository: "docker.io/library/web", tag: "1", digest: DIGEST }],
    ["a__b/c--d.e", { repository: "docker.io/a__b/c--d.e" }],
    ["a/nginx:5000", { repository: "docker.io/a/nginx", tag: "5000" }],
  ];
  for (const [text, image] of good) test(text, () => assert.deepEqual(parseImage(text), image));

  const bad = [
    "",
    " ",
    ":",
    "@",
    "/",
    "nginx:",
    ":tag",
    "nginx@",
    "nginx@latest",
    `nginx@${DIGEST.slice(0, -1)}`,
    `nginx@${DIGEST}0`,
    `nginx@${DIGEST.toUpperCase()}`,
    `nginx@md5:${"0".repeat(32)}`,
    `nginx@${DIGEST}@${DIGEST}`,
    `${ECR}/web@${DIGEST}/evil/web`,
    "Nginx",
    "team/Web",
    `${ECR.toUpperCase()}/web`,
    "https://registry.example/web",
    "//registry.example/web",
    "user:pass@registry.example/web",
    "user@registry.example/web",
    "registry.example//web",
    "registry.example/../web",
    "registry.example/./web",
    "registry.example/web/",
    "/web",
    "-web",
    "web-",
    "_web",
    "a___b",
    "a..b/c",
    ".registry.example/web",
    "registry.example./web",
    "registry..example/web",
    "registry.example:/web",
    "registry.example:0/web",
    "registry.example:port/web",
    "registry.example:123456/web",
    "[::1]:5000/web",
    "nginx:tag:tag",
    "nginx:-tag",
    `nginx:${"t".repeat(129)}`,
    "nginx latest",
    "nginx\n",
    "nginx\u200B",
    "ngіnx", // a Cyrillic letter
    "nginx%2fweb",
    "nginx?x=1",
    "nginx#x",
    "nginx\\web",
    "*",
    `${"a".repeat(256)}`,
  ];
  for (const text of bad) test(`refuses ${JSON.stringify(text)}`, () => assert.equal(parseImage(text), undefined));
});

const word = fc.stringMatching(/^[a-z0-9]{1,8}$/);
const path = fc.array(word, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("/"));
const registry = fc
  .tuple(
    word,
    fc.constantFrom("", ".example", ".dkr.ecr.eu-west-1.amazonaws.com"),
    fc.constantFrom("", ":5000", ":443"),
  )
  .map(([name, domain, port]) => `${name}${domain || ".local"}${port}`);
const repository = fc.tuple(registry, path).map((parts) => parts.join("/"));
const version = fc.oneof(
  fc.constant(""),
  fc.stringMatching(/^:[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}$/),
  fc.stringMatching(/^@sha256:[0-9a-f]{64}$/),
);

describe("for any image", () => {
  test("the parts put together are the image", () => {
    fc.assert(
      fc.property(repository, version, (name, suffix) => {
        const parsed = parseImage(name + suffix);
        assert.ok(parsed);
        assert.equal(parsed.repository, name);
        assert.equal(`${parsed.tag ? `:${parsed.tag}` : ""}${parsed.digest ? `@${parsed.digest}` : ""}`, suffix);
      }),
    );
  });

  test("a whole name is its own whole name", () => {
    fc.assert(
      fc.property(fc.oneof(repository, path), (name) => {
        const whole = parseRepository(name);
        assert.ok(whole);
        assert.equal(parseRepository(whole), whole);
      }),
    );
  });

  test("whatever parses holds nothing but what a name may hold, wherever it came from", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: "binary" }), fc.stringMatching(/^[a-zA-Z0-9.:/@_*-]{1,60}$/)), (text) => {
        const parsed = parseImage(text);
        if (parsed) assert.match(parsed.repository, /^[a-z0-9.:-]+(\/[a-z0-9._-]+)+$/);
      }),
      { numRuns: 1_000 },
    );
  });

  test("another version of a repository in use is allowed, and of no other repository", () => {
    fc.assert(
      fc.property(repository, repository, version, version, (used, other, before, after) => {
        assert.equal(isAllowedImage(used + after, [used + before], []), true);
        assert.equal(isAllowedImage(other + after, [used + before], []), other === used);
      }),
    );
  });

  test("what is put before or after a repository in use makes it another", () => {
    const around = fc.stringMatching(/^[a-z0-9./:@_-]{1,20}$/);
    fc.assert(
      fc.property(repository, around, (used, text) => {
        for (const made of [`${text}/${used}`, `${used}/${text}`, `${text}.${used}`, `${text}@${used}`]) {
          assert.equal(isAllowedImage(made, [used], []), false, made);
        }
      }),
    );
  });

  test("a pattern with a star allows what begins so, on that very registry", () => {
    fc.assert(
      fc.property(registry, registry, path, path, (host, other, start, rest) => {
        const pattern = [`${host}/${start}*`];
        assert.equal(isAllowedImage(`${host}/${start}${rest}`, [], pattern), true);
        assert.equal(isAllowedImage(`${other}/${start}${rest}`, [], pattern), other === host);
        assert.equal(isAllowedImage(`${host}/${rest}`, [], pattern), rest.startsWith(start));
      }),
    );
  });
});

describe("lookalikes of an allowed repository", () => {
  const own = `${ECR}/team/web`;
  const lookalikes = [
    `evil.com/${own}`,
    `evil.com/${own}:1`,
    `${ECR}.evil.com/team/web`,
    `evil${own}`,
    `1${own}`,
    `${ECR}:443/team/web`,
    `${ECR}/team/web2`,
    `${ECR}/team/web/x`,
    `${ECR}/team`,
    `${ECR}/team/webs@${DIGEST}`,
    `${ECR}/team%2Fweb`,
    `evil.com/web@${DIGEST}`,
    `user@${own}`,
    `user:pw@${own}`,
    `${own}@evil.com/web`,
    `${own}:1/evil`,
    `https://${own}`,
    own.toUpperCase(),
    `${ECR}/Team/web`,
    "team/web",
    "web",
    `${ECR.replace("123456789012", "210987654321")}/team/web`,
    `${ECR.replace("us-east-1", "us-east-2")}/team/web`,
  ];
  for (const image of lookalikes) {
    test(image, () => {
      assert.equal(isAllowedImage(image, [`${own}:1`], []), false);
      assert.equal(isAllowedImage(image, [], [own]), false);
      assert.equal(isAllowedImage(image, [], [`${own}:1`]), false, "a pattern names no version");
    });
  }
  test("the repository itself is allowed in both ways", () => {
    for (const version of ["", ":2", `@${DIGEST}`]) {
      assert.equal(isAllowedImage(own + version, [`${own}:1`], []), true);
      assert.equal(isAllowedImage(own + version, [], [own]), true);
    }
  });

  const patterns: [string, string, boolean][] = [
    [`${ECR}/*`, `${own}:1`, true],
    [`${ECR}*`, `${own}:1`, true],
    [`${ECR}*`, `${ECR}.evil.com/web`, false],
    [`${ECR}/team/*`, `${ECR}/teams/web`, false],
    [`${ECR}/team*`, `${ECR}/teams/web`, true],
    ["registry.example*", "registry.example.evil.com/web", false],
    ["registry.example:5000*", "registry.example:50001/web", false],
    ["nginx", "nginx:1", true],
    ["nginx", "docker.io/library/nginx", true],
    ["nginx", "evil/nginx", false],
    ["nginx*", "nginx-exporter", true],
    ["nginx*", "nginx.evil.com/x", false],
    ["team/*", "team/web", true],
    ["team/*", "team.evil.com/web", false],
    ["docker.io/library/*", "nginx", true],
    ["docker.io/library/*", "team/web", false],
    ["index.docker.io/team/*", "team/web", true],
    ["*", "anything.example/at/all:1", true],
    ["*", "user@anything.example/at/all", false],
    ["", "nginx", false],
    ["*/web", "evil.com/web", false],
    [`${ECR}/*/web`, `${ECR}/team/web`, false],
  ];
  for (const [pattern, image, allowed] of patterns) {
    test(`${pattern || "nothing"} ${allowed ? "allows" : "does not allow"} ${image}`, () => {
      assert.equal(isAllowedImage(image, [], [pattern]), allowed);
    });
  }
});
