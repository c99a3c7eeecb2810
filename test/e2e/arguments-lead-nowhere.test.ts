import assert from "node:assert/strict";
import { mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { catalog } from "../../src/tools/catalog.ts";
import { stageAll } from "../../src/tools/stage-support.ts";
import { type RawReply, rawCall } from "../support/raw-mcp.ts";
import { openScene, type Scene } from "../support/scene.ts";
import { temporaryHome } from "../support/server.ts";
import type { Stage } from "../support/stage.ts";
import { propertiesOf, textArguments } from "../support/text-arguments.ts";
import { type Seen, seenIn, WITNESS } from "../support/witness.ts";

// No argument can name an endpoint, a URL, a file or a role: by what the schemas say, and by what a server does that is
// given such a thing in every place for a text.

const POINTS_ELSEWHERE =
  /(^|_)(end_?points?|ur[li]s?|hosts?|hostnames?|prox(y|ies)|ports?|files?|paths?|dir(ectory)?|folder|roles?|role_arn|profiles?|credentials?|access_keys?|secrets?|tokens?|passwords?|assume\w*|webhooks?|callbacks?|buckets?|commands?|entry_?point|scripts?|user_data|server|socket)(_|$)/i;
const SAYS_SO = /\b(URLs?|URIs?|endpoints?|file names?|paths? (of|to)|role ARNs?|IAM roles?|https?:\/\/)/i;
const FORMATS = [
  "uri",
  "uri-reference",
  "uri-template",
  "iri",
  "hostname",
  "idn-hostname",
  "ipv4",
  "ipv6",
  "email",
  "regex",
];

describe("the schemas", () => {
  for (const { name, input, iam } of catalog) {
    test(`${name} takes no endpoint, URL, file or role`, () => {
      for (const { path, name: property, schema } of propertiesOf(input)) {
        assert.doesNotMatch(property, POINTS_ELSEWHERE, path);
        assert.doesNotMatch(schema.description ?? "", SAYS_SO, path);
        assert.ok(!FORMATS.includes(schema.format ?? ""), `${path}: ${schema.format}`);
      }
      assert.ok(iam.every(({ action }) => action !== "sts:AssumeRole"));
    });
  }

  test("a new task definition has the roles of the one it is made from, and no argument says otherwise", () => {
    const tool = catalog.find((each) => each.name === "ecs_register_task_definition");
    assert.ok(tool);
    const names = [...propertiesOf(tool.input)].map(({ name }) => name);
    assert.ok(names.includes("task_definition"));
    assert.deepEqual(
      names.filter((name) => /role|arn/i.test(name)),
      [],
    );
  });

  test("what is looked for would be found", () => {
    for (const name of [
      "endpoint",
      "endpoint_url",
      "callback_url",
      "role_arn",
      "file",
      "output_path",
      "profile",
      "proxy",
    ])
      assert.match(name, POINTS_ELSEWHERE);
    assert.match("The URL to call", SAYS_SO);
  });
});

const CANARY = "canary-in-a-file-that-nobody-named";
const folder = mkdtempSync(join(tmpdir(), "outside-"));
const file = join(folder, "secret.txt");
writeFileSync(file, CANARY);
const witness = join(folder, "seen.jsonl");
writeFileSync(witness, "");

let scene: Scene;
let stage: Stage;

before(async () => {
  scene = await openScene({
    home: temporaryHome(),
    env: {
      NODE_OPTIONS: WITNESS,
      MCP_TEST_WITNESS: witness,
      MCP_AWS_CALLS_PER_MINUTE: "0",
      MCP_AWS_BREAKER_FAILURES: "1000",
    },
    args: ["--confirm", "never"],
  });
  stage = await stageAll({
    proxy: scene.proxy,
    async call(tool, args) {
      const { content, result } = await rawCall(scene.server.url, { tool, args, key: scene.keys.admin });
      return { content, isError: result.isError === true, text: result.content[0].text };
    },
  });
});
after(async () => {
  await scene?.close();
  rmSync(folder, { recursive: true, force: true });
});

const ELSEWHERE = [
  "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
  "https://evil.example/collect",
  "//evil.example/x",
  "evil.example",
  "evil.example:443",
  "us-east-1.evil.example",
  "us-east-1@evil.example",
  "x\r\nHost: evil.example",
  "127.0.0.1:1",
  "[::1]:1",
  file,
  `file://${file}`,
  `@${file}`,
  relative(process.cwd(), file),
  `../../../../../../../..${file}`,
  `..%2f..%2f..%2f..${encodeURIComponent(file)}`,
  "fileb:///proc/self/environ",
  "arn:aws:iam::123456789012:role/admin",
  "arn:aws:ecs:us-east-1:123456789012:cluster/../../evil.example",
  "s3://evil-example/key",
  "\\\\evil.example\\share",
  "/var/run/docker.sock",
];

describe("a server that is given them", () => {
  for (const { name, input } of catalog) {
    const places = textArguments(input);
    test(`${name}: ${places.length} places, nothing but AWS's endpoint is asked, no file is opened`, async () => {
      const good = stage[name]?.calls[0] ?? {};
      const from = seenIn(witness).length;
      scene.proxy.clearRequests();
      for (const place of places) {
        const replies = await Promise.all(
          ELSEWHERE.map((text) =>
            rawCall(scene.server.url, { tool: name, args: place.put(good, text), key: scene.keys.admin }),
          ),
        );
        for (const reply of replies) assertHarmless(reply, `${name} ${place.path}`);
      }
      for (const seen of seenIn(witness).slice(from)) assertExpected(seen);
      const { host } = new URL(scene.proxy.url);
      for (const { headers, path } of scene.proxy.requests) {
        assert.equal(headers.host, host);
        assert.match(path, /^\/(\?[\w=&%.~*-]*)?$/, "arguments are in the body");
        const { host: _host, authorization: _signature, ...others } = headers;
        assert.doesNotMatch(JSON.stringify(others), /evil|169\.254|secret\.txt|role\/admin/);
        assert.doesNotMatch(headers.authorization ?? "", /evil|169\.254/);
      }
    });
  }

  test("the witness sees what it is there for", () => {
    const all = seenIn(witness);
    const endpoint = new URL(scene.proxy.url).host;
    assert.ok(all.some(({ kind, what }) => kind === "connect" && what === endpoint));
    assert.ok(all.some(({ kind, what }) => kind === "file" && what.startsWith(scene.server.home)));
    assert.ok(catalog.flatMap(({ input }) => textArguments(input)).length > 100);
  });
});

function assertHarmless({ result, error, content }: RawReply, where: string): void {
  assert.equal(error, undefined, where);
  assert.ok(!JSON.stringify(result).includes(CANARY), where);
  const kind = content.error?.kind;
  const known = [
    undefined,
    "invalid_input",
    "not_found",
    "denied",
    "conflict",
    "aws_access_denied",
    "upstream",
    "timeout",
    "throttled",
  ];
  assert.ok(known.includes(kind), `${where}: ${JSON.stringify(content)}`);
}

const root = join(import.meta.dirname, "../..");
const modules = realpathSync(join(root, "node_modules"));
/** Modules of ours and of npm, and the state directory: neither is named by a caller. */
function assertExpected({ kind, what }: Seen): void {
  if (kind === "connect") assert.equal(what, new URL(scene.proxy.url).host);
  else if (kind === "lookup") assert.equal(what, "127.0.0.1");
  else if (kind === "file") {
    // Modules are named by URL.
    const name = what.startsWith("file://") ? fileURLToPath(what) : what;
    const known = [root, modules, scene.server.home].some((prefix) => name.startsWith(prefix));
    assert.ok((known || /^\d+$/.test(name)) && !name.includes("secret.txt"), what);
  } else assert.fail(`${kind} ${what}`);
}
