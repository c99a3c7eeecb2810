import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import {
  CreateSecretCommand,
  GetSecretValueCommand,
  PutSecretValueCommand,
  SecretsManagerClient,
} from "@aws-sdk/client-secrets-manager";
import { GetParameterCommand, PutParameterCommand, SSMClient } from "@aws-sdk/client-ssm";
import { awsClientConfig } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
import { type Moto, startMoto } from "../support/moto.ts";
import {
  type HttpServerProcess,
  runCli,
  type ServerOptions,
  startHttpServer,
  temporaryHome,
} from "../support/server.ts";
import { legacyRequest, modernRequest, openSession, post, send, type WireReply } from "../support/wire.ts";

// Where a server's API keys may be, when they end, and what happens when they cannot be read.

const EMPTY = '{"version":2,"keys":[]}';
/** The shortest there is. */
const REFRESH = ["--api-keys-refresh-s", "5"];
const PATIENCE_MS = 40_000;

const list = modernRequest("tools/list");
const running: HttpServerProcess[] = [];
after(() => Promise.all(running.map((server) => server.stop())));

async function start(options: ServerOptions & { home: string }): Promise<HttpServerProcess> {
  const server = await startHttpServer(options);
  running.push(server);
  return server;
}

async function keys(args: string[], options: ServerOptions & { home: string }): Promise<string> {
  const { code, stdout, stderr } = await runCli(["keys", ...args], options);
  assert.equal(code, 0, stderr);
  return stdout.trim();
}

/** What a server says that does not start. */
async function refusal(args: string[], options: ServerOptions & { home: string }): Promise<string> {
  const { code, stderr } = await runCli(["http", "--port", "0", ...args], options);
  assert.equal(code, 2, stderr);
  assert.doesNotMatch(stderr, /\n\s+at /);
  return stderr.trim();
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const idOf = (token: string): string => token.split("_")[1] ?? "";

async function status(server: HttpServerProcess, token?: string): Promise<number> {
  return (await post(server.url.replace("0.0.0.0", "127.0.0.1"), list, token ? bearer(token) : {})).status;
}

async function readyz(server: HttpServerProcess): Promise<{ status: number; notes: string[] }> {
  const reply = await send(server.url.replace("0.0.0.0", "127.0.0.1"), { method: "GET", path: "/readyz" });
  return { status: reply.status, notes: JSON.parse(reply.text).notes };
}

test("a key that expires stops working, also inside an open session, and says no more than any other", async () => {
  const home = temporaryHome();
  await keys(["create", "--name", "lasting"], { home });
  const server = await start({ home });
  const token = await keys(["create", "--name", "brief", "--expires", "10s"], { home });
  await eventually(async () => (await status(server, token)) === 200);
  const session = await openSession(server.url, bearer(token));
  assert.equal((await post(server.url, legacyRequest("ping"), session)).status, 200);
  await eventually(async () => (await post(server.url, legacyRequest("ping"), session)).status === 401, PATIENCE_MS);
  const plain = ({ status, text, headers }: WireReply) => [status, text, headers["www-authenticate"]];
  const unknown = `mcpaws_${idOf(token)}_${"A".repeat(43)}`;
  assert.deepEqual(
    plain(await post(server.url, list, bearer(token))),
    plain(await post(server.url, list, bearer(unknown))),
  );
  assert.match(await keys(["list"], { home }), /brief .* expired$/m);
  assert.equal(await server.stop(), 0);
  const { stdout } = await runCli(["audit", "query", "--event", "auth_failure", "--json"], { home });
  const reasons = stdout
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line).body.detail.reason);
  assert.ok(reasons.includes("expired"), "the trail knows why");
});

describe("keys in a file of their own", () => {
  const home = temporaryHome();
  const file = join(home, "keys.json");
  const args = ["--api-keys-file", file];

  test("must be there, and well-formed: else the server does not start, and says the line", async () => {
    assert.match(
      await refusal(args, { home }),
      /^There is no \S+keys\.json; make a key in it: mcp-aws-server keys create/,
    );
    const malformed: [string, RegExp][] = [
      ['{\n  "version": 2,\n  "keys": [],\n}', /^\S+keys\.json:4: not JSON$/],
      [
        '{\n  "version": 1,\n  "keys": []\n}',
        /^\S+keys\.json:2: version: these keys are of an earlier version .* keys create$/,
      ],
      ['{\n  "version": 2,\n  "keys": [{}]\n}', /^\S+keys\.json:3: keys\.0\.id: must be a text\n/],
    ];
    for (const [text, message] of malformed) {
      writeFileSync(file, text);
      assert.match(await refusal(args, { home }), message);
    }
  });

  test("without a key in it nobody gets in, be it from this machine", async () => {
    writeFileSync(file, EMPTY);
    for (const host of ["127.0.0.1", "0.0.0.0"]) {
      const server = await start({ home, args: [...args, "--host", host] });
      assert.equal(await status(server), 401);
      assert.equal(await server.stop(), 0);
    }
  });

  test("is followed when it is replaced, as a mounted secret is", async () => {
    const mounted = join(home, "mounted.json");
    const made: string[] = [];
    for (const revision of ["r1", "r2"]) {
      mkdirSync(join(home, revision));
      const path = join(home, revision, "keys.json");
      made.push(await keys(["create", "--name", revision, "--api-keys-file", path], { home }));
    }
    const [first = "", second = ""] = made;
    const mount = (revision: string) => {
      symlinkSync(revision, join(home, "..tmp"));
      renameSync(join(home, "..tmp"), join(home, "..data"));
    };
    mount("r1");
    symlinkSync("..data/keys.json", mounted);
    const server = await start({ home, args: ["--api-keys-file", mounted] });
    assert.equal(await status(server, first), 200);
    assert.equal(await status(server, second), 401);
    mount("r2");
    await eventually(async () => (await status(server, first)) === 401);
    assert.equal(await status(server, second), 200);
    // What cannot be used changes nothing, is shouted about, and shows.
    writeFileSync(join(home, "r2", "keys.json"), "mcpaws_secret");
    await eventually(async () => (await readyz(server)).notes.length === 1 || (await status(server, second)) !== 200);
    const { status: ready, notes } = await readyz(server);
    assert.deepEqual([ready, notes], [200, ["the API keys could not be read again; those known before stay in force"]]);
    assert.match(server.stderr(), /mounted\.json:1: not JSON/);
    assert.ok(!server.stderr().includes("mcpaws_secret"));
    assert.equal(await status(server, second), 200);
  });

  test("names roles that there are", async () => {
    const principals = join(home, "principals.yaml");
    writeFileSync(principals, "roles: [auditor]\n");
    const path = join(home, "roles.json");
    const create = ["create", "--name", "rita", "--role", "viewer,auditor", "--api-keys-file", path];
    assert.equal((await runCli(["keys", ...create], { home })).code, 2);
    const token = await keys([...create, "--principals-file", principals], { home });
    assert.match(
      await refusal(["--api-keys-file", path], { home }),
      /roles\.json:\d+: .*there is no role auditor, which rita has$/,
    );
    const server = await start({ home, args: ["--api-keys-file", path, "--principals-file", principals] });
    assert.equal(await status(server, token), 200);
  });

  test("is the only place, when it is one", async () => {
    const arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/keys";
    assert.match(await refusal([...args, "--api-keys-arn", arn], { home }), /api_keys_file or api_keys_arn, not both/);
  });
});

describe("keys in AWS", { concurrency: 2 }, () => {
  let moto: Moto;
  let proxies: FaultProxy[];
  before(async () => {
    moto = await startMoto();
    proxies = [await startFaultProxy({ target: moto.url }), await startFaultProxy({ target: moto.url })];
  });
  after(async () => {
    await Promise.all(running.splice(0).map((server) => server.stop()));
    await Promise.all(proxies.map((proxy) => proxy.close()));
    await moto.stop();
  });

  const services = [
    {
      service: "ssm",
      read: "GetParameter",
      async place({ url, accountId }: FaultProxy) {
        const ssm = new SSMClient(awsClientConfig(url, "eu-west-1"));
        const Name = `/mcp/${randomUUID()}`;
        const put = async (Value: string) =>
          void (await ssm.send(new PutParameterCommand({ Name, Value, Type: "SecureString", Overwrite: true })));
        await put(EMPTY);
        const text = async () =>
          (await ssm.send(new GetParameterCommand({ Name, WithDecryption: true }))).Parameter?.Value;
        return { arn: `arn:aws:ssm:eu-west-1:${accountId}:parameter${Name}`, put, text };
      },
    },
    {
      service: "secretsmanager",
      read: "GetSecretValue",
      async place({ url }: FaultProxy) {
        const secrets = new SecretsManagerClient(awsClientConfig(url, "eu-west-1"));
        const create = new CreateSecretCommand({ Name: randomUUID(), SecretString: EMPTY });
        const { ARN: SecretId = "" } = await secrets.send(create);
        const put = async (SecretString: string) =>
          void (await secrets.send(new PutSecretValueCommand({ SecretId, SecretString })));
        const text = async () => (await secrets.send(new GetSecretValueCommand({ SecretId }))).SecretString;
        return { arn: SecretId, put, text };
      },
    },
  ];

  for (const [index, { service, read, place }] of services.entries()) {
    test(`${service}: made and revoked from elsewhere, out of reach for a while, spoilt, and mended`, async () => {
      const proxy = proxies[index];
      assert.ok(proxy);
      const home = temporaryHome();
      const { arn, put, text } = await place(proxy);
      const options = { home, endpoint: proxy.url };
      const args = ["--api-keys-arn", arn];
      const server = await start({ ...options, args: [...args, ...REFRESH, "--host", "0.0.0.0"] });
      assert.equal(await status(server), 401, "no keys are not nobody's business");

      const token = await keys(["create", "--name", "ci", ...args], options);
      const other = await keys(["create", "--name", "other", ...args], options);
      assert.match(await keys(["list", ...args], options), /ci .*\n.*other /);
      assert.ok(!((await text()) ?? token).includes(token.slice(-43)));
      await eventually(async () => (await status(server, other)) === 200, PATIENCE_MS);
      // So many attempts before the key was known were failures: another one that is new may have to wait a moment.
      await eventually(async () => (await status(server, token)) === 200, PATIENCE_MS);

      const rule = proxy.rule({ service, operation: read, fault: { kind: "denied" } });
      await eventually(async () => (await readyz(server)).notes.length === 1, PATIENCE_MS);
      const hits = rule.hits;
      await eventually(() => rule.hits > hits, PATIENCE_MS);
      assert.equal(await status(server, token), 200);
      assert.equal((await readyz(server)).status, 200);
      rule.remove();
      await eventually(async () => (await readyz(server)).notes.length === 0, PATIENCE_MS);

      const good = (await text()) ?? "";
      await put("mcpaws_CANARY");
      await eventually(async () => (await readyz(server)).notes.length === 1, PATIENCE_MS);
      assert.equal(await status(server, token), 200);
      await put(good);

      const revoked = await keys(["revoke", idOf(token), ...args, ...REFRESH], options);
      assert.match(
        revoked,
        /^Revoked [0-9a-f]{8}\. Running servers refuse it within 5 seconds \(api_keys_refresh_s\)\.$/,
      );
      await eventually(async () => (await status(server, token)) === 401, PATIENCE_MS);
      assert.equal(await status(server, other), 200);
      assert.deepEqual((await readyz(server)).notes, []);
      await keys(["revoke", "--all", ...args], options);
      await eventually(async () => (await status(server, other)) === 401, PATIENCE_MS);
      assert.equal(await status(server), 401, "the last key does not leave the door open");

      const errors = server
        .stderr()
        .split("\n")
        .filter((line) => line.includes("API keys cannot be read again"));
      assert.equal(errors.length, 2, errors.join("\n"));
      for (const secret of ["CANARY", token, other]) assert.ok(!server.stderr().includes(secret));
      assert.equal(await server.stop(), 0, "a timer keeps nobody alive");

      await put('{"version": 2,\n"keys": ["mcpaws_CANARY"]}');
      const spoilt = await refusal(args, options);
      assert.equal(spoilt, `${arn}:2: keys.0: must be a key`);
      proxy.rule({ service, operation: read, fault: { kind: "denied" } });
      assert.ok((await refusal(args, options)).startsWith(`${arn} cannot be read: `));
      assert.match(await refusal(["--api-keys-arn", "arn:aws:s3:::bucket"], options), /^not the ARN of a secret/);
    });
  }
});

test("guessing gets nobody in, and every guess gets the same answer", async () => {
  const home = temporaryHome();
  const token = await keys(["create", "--name", "admin", "--role", "admin"], { home });
  const server = await start({ home });
  const answers = new Set<string>();
  for (let round = 0; round < 40; round += 1) {
    const replies = await Promise.all(
      Array.from({ length: 25 }, (_, i) => {
        const id = i % 2 ? idOf(token) : randomBytes(4).toString("hex");
        return post(server.url, list, bearer(`mcpaws_${id}_${randomBytes(32).toString("base64url")}`));
      }),
    );
    for (const { status, text, headers } of replies) {
      const { date: _, "retry-after": __, ...rest } = headers;
      // Whoever guesses too often may be told so.
      assert.ok(status === 401 || status === 429, `${status} ${text}`);
      answers.add(JSON.stringify([status, text, rest]));
    }
  }
  assert.ok(answers.size <= 2, [...answers].join("\n"));
  const log = server.stderr() + readFileSync(join(home, "state/mcp-aws-server/api-keys.json"), "utf8");
  assert.ok(!log.includes(token.slice(-43)));
});
