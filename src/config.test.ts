import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { ConfigError, envName, flagName, loadSettings, Settings, settingNames, stateDir } from "./config.ts";

const directory = mkdtempSync(join(tmpdir(), "mcp-aws-config-"));
after(() => rmSync(directory, { recursive: true, force: true }));

function file(content: string): string {
  const path = join(directory, `${Math.random()}.yaml`);
  writeFileSync(path, content);
  return path;
}

const load = (flags: object = {}, env: NodeJS.ProcessEnv = {}, path?: string) =>
  loadSettings(flags as Record<string, unknown>, env, path);

async function problem(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof ConfigError, `expected a ConfigError, got ${error}`);
  return error.message;
}

describe("where a setting comes from", () => {
  test("nothing given: the defaults", async () => {
    const settings = await load();
    assert.deepEqual(settings.role, ["viewer"]);
    assert.equal(settings.confirm, "always");
    assert.equal(settings.host, "127.0.0.1");
    assert.deepEqual([settings.breaker_failures, settings.breaker_reset_s, settings.breaker_trials], [5, 60, 3]);
  });

  test("a flag wins over the environment, the environment over the file", async () => {
    const path = file("role: admin\nport: 1111\nconfirm: never\n");
    const env = { MCP_AWS_ROLE: "operator", MCP_AWS_PORT: "2222" };
    const settings = await load({ port: "3333" }, env, path);
    assert.deepEqual([settings.confirm, settings.role, settings.port], ["never", ["operator"], 3333]);
  });

  test("the standard variables stand in, ours win over them, the file's give way to neither", async () => {
    assert.equal((await load({}, { AWS_REGION: "eu-west-1" })).region, "eu-west-1");
    assert.equal((await load({}, { AWS_DEFAULT_REGION: "eu-west-2" })).region, "eu-west-2");
    assert.equal((await load({}, { AWS_REGION: "eu-west-1", MCP_AWS_REGION: "eu-west-3" })).region, "eu-west-3");
    assert.equal((await load({ region: "us-west-2" }, { AWS_REGION: "eu-west-1" })).region, "us-west-2");
  });

  test("an empty variable is one that is not set", async () => {
    assert.deepEqual((await load({}, { MCP_AWS_ROLE: "" })).role, ["viewer"]);
  });

  test("lists are comma-separated in flags and variables, lists in the file", async () => {
    assert.deepEqual((await load({ allowed_hosts: "a.example, b.example" })).allowed_hosts, ["a.example", "b.example"]);
    const path = file("allowed_hosts: [c.example]\n");
    assert.deepEqual((await load({}, {}, path)).allowed_hosts, ["c.example"]);
  });

  for (const [given, level] of [
    ["WARNING", "warn"],
    ["Info", "info"],
    ["CRITICAL", "error"],
    ["trace", "debug"],
  ]) {
    test(`LOG_LEVEL=${given} means ${level}`, async () => {
      assert.equal((await load({}, { LOG_LEVEL: given })).log_level, level);
    });
  }

  test("an empty file is no settings", async () => {
    assert.deepEqual((await load({}, {}, file(""))).role, ["viewer"]);
  });
});

describe("what cannot be used is refused, naming where it came from", () => {
  test("an unknown name, with the nearest known one", async () => {
    assert.match(await problem(load({}, { MCP_AWS_ROEL: "admin" })), /MCP_AWS_ROEL.*did you mean "role"/);
    assert.match(await problem(load({}, {}, file("\nbreaker_failure: 3\n"))), /:2: .* did you mean "breaker_failures"/);
    assert.doesNotMatch(await problem(load({}, {}, file("something_else_entirely: 3\n"))), /did you mean/);
  });

  test("a value of the wrong kind", async () => {
    assert.match(await problem(load({ role: "ROOT!" })), /^--role: /);
    assert.match(await problem(load({}, { MCP_AWS_PORT: "99999" })), /^MCP_AWS_PORT: /);
    assert.match(await problem(load({}, { MCP_AWS_MAX_CALLS: "many" })), /^MCP_AWS_MAX_CALLS: /);
    assert.match(await problem(load({}, { AWS_REGION: "http://evil" })), /^AWS_REGION: /);
    const path = file("role: admin\n\nconfirm: sometimes\n");
    assert.ok((await problem(load({}, {}, path))).startsWith(`${path}:3: `));
  });

  test("a file that is not there, not YAML, or not a mapping", async () => {
    assert.match(await problem(load({}, {}, join(directory, "none.yaml"))), /^Cannot read /);
    const broken = file("port: 1\nrole: [admin\n");
    assert.match(await problem(load({}, {}, broken)), /^\S+\.yaml:[23]: /);
    assert.match(await problem(load({}, {}, file("port: 1\nrole: viewer\nport: 2\n"))), /\.yaml:3: /);
    assert.match(await problem(load({}, {}, file("- role\n"))), /not a mapping/);
  });

  test("prototype names are just unknown names", async () => {
    assert.match(await problem(load({}, {}, file("__proto__: {role: admin}\n"))), /no setting "__proto__"/);
    assert.match(await problem(load({}, {}, file("constructor: 1\n"))), /no setting "constructor"/);
  });
});

test("URLs are https, or this machine's, and carry nothing else", async () => {
  for (const url of ["https://issuer.example", "http://127.0.0.1:8080/mcp", "http://localhost", "http://[::1]:1/x"])
    assert.equal((await load({ oauth_issuer: url })).oauth_issuer, url);
  for (const url of [
    "http://issuer.example",
    "issuer.example",
    "file:///etc/passwd",
    "https://user:password@issuer.example",
    "https://issuer.example/?x=1",
    "https://issuer.example/#x",
    "http://localhost.evil.example",
    "http://127.0.0.1.evil.example",
  ])
    assert.match(await problem(load({ oauth_issuer: url })), /^--oauth-issuer: not an https/, url);
});

test("only algorithms that sign with a private key, only time zones there are, only roles that could be", async () => {
  assert.match(await problem(load({ oauth_algorithms: "RS256,HS256" })), /^--oauth-algorithms: /);
  assert.match(await problem(load({ oauth_algorithms: "none" })), /^--oauth-algorithms: /);
  assert.match(await problem(load({ policy_time_zone: "Mars/Olympus" })), /^--policy-time-zone: /);
  assert.equal((await load({ policy_time_zone: "Europe/Berlin" })).policy_time_zone, "Europe/Berlin");
  assert.deepEqual((await load({ role: "auditor, dev-writer" })).role, ["auditor", "dev-writer"]);
  assert.match(await problem(load({ role: "," })), /^--role: /);
});

test("every setting has a description, a flag and a variable", () => {
  for (const name of settingNames) {
    assert.ok(Settings.shape[name].description, name);
    assert.match(flagName(name), /^[a-z]+(-[a-z]+)*$/);
    assert.match(envName(name), /^MCP_AWS_[A-Z]+(_[A-Z]+)*$/);
  }
});

test("state lives under XDG_STATE_HOME, else under the home directory, unless told otherwise", async () => {
  const settings = await load();
  assert.equal(stateDir(settings, { XDG_STATE_HOME: "/x" }), "/x/mcp-aws-server");
  assert.equal(stateDir(settings, { HOME: "/h" }), "/h/.local/state/mcp-aws-server");
  assert.equal(stateDir(settings, {}), join(homedir(), ".local/state/mcp-aws-server"));
  assert.equal(stateDir(await load({ state_dir: "/s" }), { XDG_STATE_HOME: "/x" }), "/s");
});
