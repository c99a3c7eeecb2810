import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import http from "node:http";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, describe, test } from "node:test";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
import { type Moto, startMoto } from "../support/moto.ts";
import { call, connectHttp, runCli, startHttpServer, temporaryHome } from "../support/server.ts";

let moto: Moto;
let proxy: FaultProxy;

before(async () => {
  moto = await startMoto();
  proxy = await startFaultProxy({ target: moto.url });
});
after(async () => {
  await proxy?.close();
  await moto?.stop();
});

describe("--help", () => {
  for (const args of [
    [],
    ["http"],
    ["tools"],
    ["doctor"],
    ["keys"],
    ["keys", "create"],
    ["audit"],
    ["audit", "tail"],
    ["audit", "query"],
    ["audit", "verify"],
  ]) {
    test(`mcp-aws-server ${args.join(" ")} --help`, async () => {
      const { code, stdout, stderr } = await runCli([...args, "--help"], { home: temporaryHome() });
      assert.equal(code, 0);
      assert.equal(stderr, "");
      assert.match(stdout, /^Usage: mcp-aws-server/);
      for (const line of stdout.split("\n")) assert.ok(line.length <= 200, line);
    });
  }

  test("every setting a command takes is explained with its variable", async () => {
    const { stdout } = await runCli(["http", "--help"], { home: temporaryHome() });
    for (const name of ["port", "allowed-hosts", "role", "confirm", "max-calls", "breaker-reset-s"])
      assert.match(stdout, new RegExp(`--${name} `));
    assert.match(stdout, /MCP_AWS_MAX_CALLS/);
  });
});

describe("mistakes on the command line", () => {
  const cases: [string, string[], RegExp][] = [
    ["unknown command", ["htp"], /htp/],
    ["unknown option", ["http", "--prot", "1"], /did you mean --port/i],
    ["bad value", ["--role", "root"], /role: there is no root; valid: viewer/],
    ["bad port", ["http", "--port", "x"], /--port: /],
    ["missing name", ["keys", "create"], /--name/],
    ["bad number", ["audit", "tail", "-n", "0"], /whole number/],
    ["bad time", ["audit", "query", "--since", "yesterday"], /neither an ISO time/],
    ["no trail", ["audit", "verify"], /no audit trail/],
    ["no rows yet", ["audit", "tail"], /no audit trail/],
    ["config file that is not there", ["--config", "/nowhere.yaml"], /Cannot read \/nowhere\.yaml: /],
  ];
  for (const [name, args, message] of cases) {
    test(name, async () => {
      const home = temporaryHome();
      if (name === "no rows yet") mkdirSync(join(home, "state/mcp-aws-server"), { recursive: true });
      const { code, stdout, stderr } = await runCli(args, { home });
      assert.ok(code === 1 || code === 2, `exit code ${code}`);
      assert.equal(stdout, "");
      assert.match(stderr, message);
      assert.doesNotMatch(stderr, /\n\s+at /, "a stack trace is not help");
    });
  }
});

test("tools lists every tool with its effect and actions, or as the protocol sends them", async () => {
  const home = temporaryHome();
  const { stdout } = await runCli(["tools"], { home });
  assert.match(stdout, /ec2_stop_instance +destructive +ec2 +ec2:DescribeInstances ec2:StopInstances/);
  const json = JSON.parse((await runCli(["tools", "--json"], { home })).stdout);
  assert.ok(json.every((tool: { name: string; inputSchema: object }) => tool.name && tool.inputSchema));
  assert.ok(!existsSync(join(home, "state")), "listing tools leaves no trace");
});

test("tools can be chosen; what does not exist is named, with what does", async () => {
  const home = temporaryHome();
  const names = async (...args: string[]) =>
    JSON.parse((await runCli(["tools", "--json", ...args], { home })).stdout).map(
      (tool: { name: string }) => tool.name,
    );
  assert.deepEqual(await names("--tools", "ec2_stop_instance,ec2_list_instances"), [
    "ec2_list_instances",
    "ec2_stop_instance",
  ]);
  const ec2 = await names("--toolsets", "ec2", "--exclude-tools", "ec2_stop_instance");
  assert.ok(ec2.length > 2 && ec2.every((name: string) => name.startsWith("ec2_") && name !== "ec2_stop_instance"));
  for (const command of [["tools"], ["iam"], []]) {
    const { code, stderr } = await runCli([...command, "--toolsets", "ec2,s3"], { home });
    assert.equal(code, 2);
    assert.match(stderr, /^toolsets: there is no s3; valid: ec2, /);
    assert.doesNotMatch(stderr, / {4}at /);
  }
});

test("iam prints the policy for exactly these tools and this role", async () => {
  const home = temporaryHome();
  const iam = async (...args: string[]) => JSON.parse((await runCli(["iam", ...args], { home })).stdout).Statement;
  const one = ["--tools", "ec2_start_instance,ec2_list_instances"];
  const read = { Sid: "Mcp1", Effect: "Allow", Action: ["ec2:DescribeInstances"], Resource: ["*"] };
  assert.deepEqual(await iam(...one), [read]);
  const arn = "arn:aws:ec2:eu-west-1:123456789012:instance/*";
  const write = { Sid: "Mcp2", Effect: "Allow", Action: ["ec2:StartInstances"], Resource: [arn] };
  const where = ["--account", "123456789012", "--regions", "eu-west-1"];
  assert.deepEqual(await iam(...one, "--role", "operator", ...where), [read, write]);
  const { code, stderr } = await runCli(["iam", "--account", "1"], { home });
  assert.equal(code, 1);
  assert.match(stderr, /not an account id of twelve digits/);
});

describe("keys", () => {
  test("a key is printed once, stored only as a hash, listed without its secret, and revoked", async () => {
    const home = temporaryHome();
    const created = await runCli(["keys", "create", "--role", "operator", "--name", "ci"], { home });
    assert.equal(created.code, 0, created.stderr);
    const token = created.stdout.trim();
    assert.match(token, /^mcpaws_[0-9a-f]{8}_[A-Za-z0-9_-]{43}$/);
    const state = join(home, "state/mcp-aws-server");
    for (const file of readdirSync(state)) {
      assert.ok(!readFileSync(join(state, file)).includes(token.split("_")[2] ?? "?"), `${file} holds the secret`);
      assert.equal(statSync(join(state, file)).mode & 0o077, 0, `${file} is readable by others`);
    }
    const listed = (await runCli(["keys", "list"], { home })).stdout;
    assert.match(listed, /ci +operator/);
    assert.ok(!listed.includes(token));
    const id = token.split("_")[1] ?? "";
    assert.equal((await runCli(["keys", "revoke", id], { home })).code, 0);
    assert.match((await runCli(["keys", "list"], { home })).stdout, /No keys/);
    assert.equal((await runCli(["keys", "revoke", id], { home })).code, 2);
  });

  test("a key has an end unless somebody says never, which is warned about", async () => {
    const home = temporaryHome();
    const create = (name: string, ...args: string[]) => runCli(["keys", "create", "--name", name, ...args], { home });
    const usual = await create("usual");
    assert.match(usual.stdout, /^mcpaws_\S+\n$/, "the key alone, so that it can be piped");
    assert.match(usual.stderr, /^Key [0-9a-f]{8} for usual, role viewer, expires \d{4}-\S+Z\. .*\n$/);
    const never = await create("never", "--expires", "never", "--role", "viewer,operator");
    assert.match(never.stderr, /roles viewer, operator, expires never\. .*\nWarning: a key that never expires/);
    await create("dated", "--expires", "2999-01-31");
    for (const expires of ["", "0d", "yesterday", "2020-01-01", "90", "-1d"]) {
      const { code, stderr } = await create("no", "--expires", expires);
      assert.equal(code, 2, expires);
      assert.match(stderr, /^--expires: .* is not a time to come, such as 90d, .*\n$/);
    }
    assert.equal((await create("no", "--role", "root")).code, 2);
    const json = JSON.parse((await runCli(["keys", "list", "--json"], { home })).stdout);
    const [first, second, third, ...more] = json;
    assert.deepEqual(more, []);
    const days = (Date.parse(first.expires_at) - Date.parse(first.created_at)) / 86_400_000;
    assert.ok(Math.abs(days - 90) < 0.01, `${days} days`);
    const { id, created_at } = second;
    assert.deepEqual(second, { id, name: "never", roles: ["viewer", "operator"], created_at, expired: false });
    assert.equal(third.expires_at, "2999-01-31T00:00:00.000Z");
  });

  test("several keys are revoked at once, or all of them; a missing one stops none", async () => {
    const home = temporaryHome();
    const ids: string[] = [];
    for (const name of ["a", "b", "c", "d"])
      ids.push((await runCli(["keys", "create", "--name", name], { home })).stdout.split("_")[1] ?? "");
    const [a = "", b = ""] = ids;
    for (const args of [[], [a, "--all"]]) assert.equal((await runCli(["keys", "revoke", ...args], { home })).code, 2);
    const { code, stdout, stderr } = await runCli(["keys", "revoke", a, "00000000", b], { home });
    assert.equal(code, 2);
    assert.match(stderr, /^There is no key 00000000; /);
    assert.match(stdout, new RegExp(`^Revoked ${a}.*\nRevoked ${b}.*\n$`));
    const listed = (await runCli(["keys", "list"], { home })).stdout;
    assert.deepEqual(
      listed
        .trim()
        .split("\n")
        .map((line) => line.split(/ +/)[1]),
      ["NAME", "c", "d"],
    );
    assert.equal((await runCli(["keys", "revoke", "--all"], { home })).code, 0);
    assert.match((await runCli(["keys", "list"], { home })).stdout, /No keys/);
  });

  test("a name that is taken or hostile is refused without a stack", async () => {
    const home = temporaryHome();
    await runCli(["keys", "create", "--name", "ci"], { home });
    for (const name of ["ci", "../../etc", "a\nb", ""]) {
      const { code, stderr } = await runCli(["keys", "create", "--name", name], { home });
      assert.equal(code, 2, name);
      assert.doesNotMatch(stderr, /\n\s+at /);
    }
  });
});

describe("doctor", () => {
  const doctor = async (options: { endpoint?: string; env?: NodeJS.ProcessEnv; home?: string } = {}) => {
    const home = options.home ?? temporaryHome();
    const { code, stdout, stderr } = await runCli(["doctor", "--json"], { endpoint: proxy.url, ...options, home });
    const { checks } = JSON.parse(stdout || `{"checks":[]}`) as { checks: Record<string, string>[] };
    const by = new Map(checks.map((check) => [check.name, check]));
    return {
      code,
      stderr,
      status: (name: string) => by.get(name)?.status,
      todo: (name: string) => by.get(name)?.todo ?? "",
      found: (name: string) => by.get(name)?.found ?? "",
    };
  };

  test("all is well", async () => {
    const seen = await doctor();
    assert.equal(seen.code, 0, seen.stderr);
    for (const name of ["version", "region", "credentials", "identity", "reachability", "clock", "audit store"]) {
      assert.equal(seen.status(name), "ok", `${name}: ${seen.found(name)}`);
    }
    assert.match(seen.found("identity"), new RegExp(proxy.accountId));
  });

  test("for people, too", async () => {
    const { code, stdout } = await runCli(["doctor"], { endpoint: proxy.url, home: temporaryHome() });
    assert.equal(code, 0);
    assert.match(stdout, /✔ region +us-east-1/);
  });

  test("no region", async () => {
    const seen = await doctor({ env: { AWS_REGION: "" } });
    assert.equal(seen.code, 1);
    assert.equal(seen.status("region"), "failed");
    assert.match(seen.todo("region"), /AWS_REGION/);
    assert.equal(seen.status("reachability"), "skipped");
  });

  test("no credentials", async () => {
    const seen = await doctor({ env: { AWS_ACCESS_KEY_ID: "", AWS_SECRET_ACCESS_KEY: "" } });
    assert.equal(seen.code, 1);
    assert.equal(seen.status("credentials"), "failed");
    assert.match(seen.todo("credentials"), /credentials/);
  });

  test("credentials that AWS does not accept", async () => {
    const rule = proxy.rule({ service: "sts", fault: { kind: "auth-failure" } });
    const seen = await doctor();
    rule.remove();
    assert.equal(seen.status("credentials"), "failed");
    assert.equal(seen.status("reachability"), "ok");
  });

  test("AWS cannot be reached", async () => {
    const closed = http.createServer();
    await new Promise<void>((listening) => void closed.listen(0, "127.0.0.1", listening));
    const { port } = closed.address() as { port: number };
    closed.close();
    const seen = await doctor({ endpoint: `http://127.0.0.1:${port}` });
    assert.equal(seen.code, 1);
    assert.equal(seen.status("reachability"), "failed");
    assert.notEqual(seen.todo("reachability"), "");
  });

  for (const [minutes, status] of [
    [2, "warning"],
    [10, "failed"],
  ] as const) {
    test(`a clock that is ${minutes} minutes off: ${status}`, async () => {
      const date = new Date(Date.now() + minutes * 60_000).toUTCString();
      const sts = http.createServer((_request, response) => {
        response.writeHead(200, { date, "content-type": "text/xml" });
        response.end(
          "<GetCallerIdentityResponse xmlns='https://sts.amazonaws.com/doc/2011-06-15/'><GetCallerIdentityResult><Arn>arn:aws:iam::1:user/x</Arn><UserId>x</UserId><Account>1</Account></GetCallerIdentityResult></GetCallerIdentityResponse>",
        );
      });
      await new Promise<void>((listening) => void sts.listen(0, "127.0.0.1", listening));
      const { port } = sts.address() as { port: number };
      const seen = await doctor({ endpoint: `http://127.0.0.1:${port}` });
      sts.closeAllConnections();
      sts.close();
      assert.equal(seen.status("clock"), status, seen.found("clock"));
      assert.match(seen.todo("clock"), /clock/);
    });
  }

  test("an audit trail that was tampered with, or lost its keys", async () => {
    const home = temporaryHome();
    const state = join(home, "state/mcp-aws-server");
    const server = await startHttpServer({ endpoint: proxy.url, home });
    await server.stop();
    assert.equal((await doctor({ home })).status("audit store"), "ok");
    rmSync(join(state, "audit-mac.key"));
    const seen = await doctor({ home });
    assert.equal(seen.status("audit store"), "failed");
    assert.match(seen.todo("audit store"), /restore|state-dir/);
  });
});

describe("audit", () => {
  let home: string;
  let state: string;

  before(async () => {
    home = temporaryHome();
    state = join(home, "state/mcp-aws-server");
    const server = await startHttpServer({ endpoint: proxy.url, home });
    const client = await connectHttp(server.url, { era: "modern" });
    await call(client, "ec2_list_instances");
    await call(client, "ec2_describe_instance", { instance_id: "i-0123456789abcdef0" });
    await call(client, "ec2_stop_instance", { instance_id: "i-0123456789abcdef0" });
    await client.close();
    await server.stop();
  });

  const json = async (...args: string[]) => {
    const { code, stdout, stderr } = await runCli(["audit", ...args, "--json"], { home });
    assert.equal(code, 0, stderr);
    return stdout
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line));
  };

  test("tail shows the last rows, the newest last", async () => {
    const rows = await json("tail", "-n", "3");
    assert.deepEqual(
      rows.map((row) => row.operation),
      ["ec2_describe_instance", "ec2_stop_instance", "stop"],
    );
    const { stdout } = await runCli(["audit", "tail"], { home });
    assert.match(stdout, /anonymous +ec2_stop_instance +denied/);
  });

  test("a row has the fields of the specification", async () => {
    const [row] = await json("query", "--operation", "ec2_describe_instance");
    assert.equal(row.user, "anonymous");
    assert.equal(row.operation, "ec2_describe_instance");
    assert.equal(row.resource_type, "ec2:instance");
    assert.equal(row.resource_id, "i-0123456789abcdef0");
    assert.equal(row.result, "not_found");
    assert.ok(row.duration_ms > 0);
    assert.match(row.timestamp, /^\d{4}-\d\d-\d\dT.*Z$/);
    assert.equal(row.body.attempts[0].operation, "DescribeInstances");
    assert.equal(row.body.account, proxy.accountId);
  });

  test("query filters by everything it offers, and combines", async () => {
    assert.equal((await json("query", "--result", "denied")).length, 1);
    assert.equal((await json("query", "--user", "anonymous")).length, 3);
    assert.equal((await json("query", "--user", "nobody")).length, 0);
    assert.equal(
      (await json("query", "--resource", "i-0123456789abcdef0", "--event", "outcome", "--result", "not_found")).length,
      1,
    );
    assert.equal((await json("query", "--since", "1h", "--limit", "2")).length, 2);
    assert.equal((await json("query", "--until", "1h")).length, 0);
    const [{ call_id: id }] = await json("query", "--operation", "ec2_list_instances");
    assert.deepEqual(
      (await json("query", "--call-id", id)).map((row) => row.call_id),
      [id],
    );
    assert.match((await runCli(["audit", "query", "--user", "nobody"], { home })).stdout, /No rows match/);
    assert.equal((await json("query", "--user", "x' OR '1'='1")).length, 0);
  });

  test("verify says intact, and tampered with the row", async () => {
    const intact = await runCli(["audit", "verify"], { home });
    assert.equal(intact.code, 0, intact.stderr);
    assert.match(intact.stdout, /intact +5 rows/);
    const db = new DatabaseSync(join(state, "audit.db"));
    for (const { name } of db.prepare("SELECT name FROM sqlite_schema WHERE type='trigger'").all())
      db.exec(`DROP TRIGGER "${name}"`);
    const { tbl_name: table } =
      db.prepare("SELECT tbl_name FROM sqlite_schema WHERE type='table' AND sql LIKE '%body%'").get() ?? {};
    db.prepare(`UPDATE ${table} SET result = 'success' WHERE result = 'denied'`).run();
    db.close();
    const tampered = await runCli(["audit", "verify"], { home });
    assert.equal(tampered.code, 1);
    assert.match(tampered.stdout, /TAMPERED[\s\S]*row 4 +edited_column/);
    const report = JSON.parse((await runCli(["audit", "verify", "--json"], { home })).stdout);
    assert.equal(report.ok, false);
  });
});

test("a server that lost a key of its trail does not start, and says why in a line", async () => {
  const home = temporaryHome();
  const state = join(home, "state/mcp-aws-server");
  assert.equal((await runCli(["doctor"], { endpoint: proxy.url, home })).code, 0);
  rmSync(join(state, "audit-mac.key"));
  const { code, stderr } = await runCli([], { home });
  assert.equal(code, 2);
  assert.match(stderr, /Cannot open the audit trail.*audit-mac\.key/);
  assert.doesNotMatch(stderr, /\n\s+at /);
});
