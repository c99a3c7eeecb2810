import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { eventually } from "./eventually.ts";
import { resolveMoto, startMoto } from "./moto.ts";

const { MOTO_URL: _shared, ...OWN } = process.env;

let directory: string;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), "moto-test-"));
});

after(() => rm(directory, { recursive: true }));

/** Writes an executable `moto_server` that runs `script` into a new folder, and returns the folder. */
async function fakeMoto(folder: string, script: string): Promise<string> {
  const path = join(directory, folder);
  await mkdir(path, { recursive: true });
  await writeFile(join(path, "moto_server"), `#!/bin/sh\n${script}\n`);
  await chmod(join(path, "moto_server"), 0o755);
  return path;
}

async function answers(url: string): Promise<boolean> {
  return fetch(`${url}/moto-api/`).then(
    () => true,
    () => false,
  );
}

describe("resolveMoto", () => {
  test("MOTO_URL, then .venv, then PATH", async () => {
    const onPath = await fakeMoto("path", "exit 0");
    const root = join(directory, "project");
    const empty = join(directory, "nowhere");
    const env = { PATH: `${empty}:${onPath}` };
    assert.deepEqual(resolveMoto(env, root), { kind: "binary", path: join(onPath, "moto_server") });
    const inVenv = await fakeMoto("project/.venv/bin", "exit 0");
    assert.deepEqual(resolveMoto(env, root), { kind: "binary", path: join(inVenv, "moto_server") });
    const url = "http://127.0.0.1:5000";
    assert.deepEqual(resolveMoto({ ...env, MOTO_URL: `${url}/` }, root), { kind: "running", url });
  });

  test("a file that cannot be executed is passed over; nothing at all says what to install", async () => {
    const folder = await fakeMoto("plain", "exit 0");
    await chmod(join(folder, "moto_server"), 0o644);
    assert.throws(() => resolveMoto({ PATH: folder }, directory), /npm run setup:moto.*apt-get install python3-venv/s);
    assert.throws(() => resolveMoto({}, directory), /No moto_server found/);
  });
});

describe("startMoto", () => {
  test("starts a server of its own, resets it, and ends it", async () => {
    const moto = await startMoto(OWN);
    assert.match(moto.url, /^http:\/\/127\.0\.0\.1:\d+$/);
    const account = { "x-moto-account-id": "111122223333" };
    const authorization = "AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/sns/aws4_request";
    const sns = async (form: string) => {
      const headers = { ...account, authorization, "content-type": "application/x-www-form-urlencoded" };
      return (await fetch(moto.url, { method: "POST", headers, body: form })).text();
    };
    await sns("Action=CreateTopic&Name=first&Version=2010-03-31");
    assert.match(await sns("Action=ListTopics&Version=2010-03-31"), /:first</);
    await moto.reset();
    assert.doesNotMatch(await sns("Action=ListTopics&Version=2010-03-31"), /:first</);
    await moto.stop();
    await moto.stop();
    assert.equal(await answers(moto.url), false);
    await assert.rejects(moto.reset());
  });

  test("takes the server at MOTO_URL, refuses to wipe it, and leaves it running", async () => {
    const own = await startMoto(OWN);
    try {
      const shared = await startMoto({ MOTO_URL: own.url });
      assert.equal(shared.url, own.url);
      await assert.rejects(shared.reset(), /shared/);
      await shared.stop();
      assert.equal(await answers(own.url), true);
    } finally {
      await own.stop();
    }
  });

  test("a MOTO_URL where nothing answers, or something else does, is an error that names it", async () => {
    await assert.rejects(startMoto({ MOTO_URL: "http://127.0.0.1:1" }), /127\.0\.0\.1:1 \(MOTO_URL\) does not answer/);
    const other = createServer((_request, response) => response.writeHead(404).end()).listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as AddressInfo;
    await assert.rejects(startMoto({ MOTO_URL: `http://127.0.0.1:${port}` }), { cause: new Error("HTTP 404") });
    other.close();
    other.closeAllConnections();
  });

  test("a server that exits at once fails with what it said", async () => {
    const PATH = await fakeMoto("broken", 'echo "ModuleNotFoundError: flask" >&2; exit 3');
    await assert.rejects(
      startMoto({ PATH }, directory),
      /exited before it was ready \(code 3\)\nModuleNotFoundError: flask/,
    );
  });

  test("a server that cannot be executed fails with why", async () => {
    const PATH = await fakeMoto("headless", "");
    await writeFile(join(PATH, "moto_server"), "#!/no/such/interpreter\n");
    await assert.rejects(startMoto({ PATH }, directory), /could not be started: .*ENOENT/);
  });

  const endings: Record<string, string> = {
    "returns from main": "",
    throws: "setTimeout(() => { throw new Error('crash'); })",
    "is interrupted": "process.kill(process.pid, 'SIGINT'); setInterval(() => {}, 1000);",
    "is terminated": "process.kill(process.pid, 'SIGTERM'); setInterval(() => {}, 1000);",
  };
  for (const [how, ending] of Object.entries(endings)) {
    test(`the server dies with a process that ${how}`, { timeout: 30_000 }, async () => {
      const module = JSON.stringify(join(import.meta.dirname, "moto.ts"));
      const script = `const { startMoto } = await import(${module});
        const { url } = await startMoto();
        process.stdout.write(url, () => { ${ending} });`;
      const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
        env: OWN,
        stdio: ["ignore", "pipe", "ignore"],
      });
      const [[url], [, signal]] = await Promise.all([once(child.stdout, "data"), once(child, "exit")]);
      assert.match(String(url), /^http/);
      await eventually(async () => !(await answers(String(url))));
      const expected = how === "is interrupted" ? "SIGINT" : how === "is terminated" ? "SIGTERM" : null;
      assert.equal(signal, expected, "the signal does to the process what it would have done without moto");
    });
  }
});
