import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, mock, test } from "node:test";
import { ensureMoto, MOTO_VERSION } from "../../scripts/setup-moto.ts";

let root: string;
let bin: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "setup-moto-"));
  bin = join(root, "bin");
  await mkdir(bin);
});

afterEach(async () => {
  mock.restoreAll();
  await rm(root, { recursive: true });
});

async function executable(path: string, script: string): Promise<void> {
  await mkdir(join(path, ".."), { recursive: true });
  await writeFile(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
}

async function installedVersion(version: string): Promise<void> {
  await executable(join(root, ".venv/bin/moto_server"), "exit 0");
  const info = join(root, `.venv/lib/python3.11/site-packages/moto-${version}.dist-info`);
  await mkdir(info, { recursive: true });
  await writeFile(join(info, "METADATA"), "");
}

test("the pinned version in .venv is enough: no Python is run", async () => {
  await installedVersion(MOTO_VERSION);
  assert.deepEqual(await ensureMoto({ PATH: bin }, root), {
    outcome: "present",
    path: join(root, ".venv/bin/moto_server"),
  });
});

test("another version in .venv is replaced, by exactly the pinned one", async () => {
  await installedVersion("5.0.0");
  await executable(join(bin, "python3"), "exit 0");
  await executable(join(root, ".venv/bin/python"), `echo "$@" > ${root}/asked`);
  const { outcome } = await ensureMoto({ PATH: bin }, root);
  assert.equal(outcome, "installed");
  const asked = await readFile(join(root, "asked"), "utf8");
  assert.match(asked, new RegExp(`-m pip install .* moto\\[server\\]==${MOTO_VERSION}\n$`));
});

test("metadata without the program is not an installed moto", async () => {
  await installedVersion(MOTO_VERSION);
  await rm(join(root, ".venv/bin/moto_server"));
  await assert.rejects(ensureMoto({ PATH: bin }, root), /could not be installed/);
});

test("when it cannot be installed, a moto_server on PATH will do, and stderr says so", async () => {
  await executable(join(bin, "moto_server"), "exit 0");
  await executable(join(bin, "python3"), "echo 'ensurepip is not available'; exit 1");
  const say = mock.method(console, "error", () => {});
  const { outcome, path } = await ensureMoto({ PATH: bin, MOTO_URL: "http://127.0.0.1:1" }, root);
  assert.deepEqual([outcome, path], ["fallback", join(bin, "moto_server")]);
  const said = say.mock.calls.map((call) => call.arguments.join(" ")).join("\n");
  assert.match(said, /could not be installed.*ensurepip is not available.*Using .*bin\/moto_server instead/s);
});

test("when there is nothing at all, the error says why and what to install", async () => {
  await assert.rejects(ensureMoto({ PATH: bin }, root), /spawn python3 ENOENT.*apt-get install python3 python3-venv/s);
});

test("as a command: exit 0 when moto is there, exit 1 and the bare message when it is not", async () => {
  const project = join(import.meta.dirname, "../..");
  const script = join(root, "scripts/setup-moto.ts");
  for (const file of ["scripts/setup-moto.ts", "test/support/moto.ts"]) await cp(join(project, file), join(root, file));
  await writeFile(join(root, "package.json"), '{"type":"module"}');
  const run = () => spawnSync(process.execPath, [script], { env: { PATH: bin }, encoding: "utf8" });
  const failed = run();
  assert.equal(failed.status, 1);
  assert.match(failed.stderr, /^moto 5\.\d+\.\d+ could not be installed/);
  await installedVersion(MOTO_VERSION);
  const succeeded = run();
  assert.equal(succeeded.status, 0, succeeded.stderr);
  assert.match(succeeded.stderr, /^moto: present/);
});
