import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** A moto server: the AWS the tests talk to. */
export interface Moto {
  /** `http://127.0.0.1:PORT`, without a trailing slash. */
  readonly url: string;
  /**
   * Forgets every resource of every account. Rejects on a moto given by `MOTO_URL`, because other test files are using
   * it at the same time: isolate by account (a fault proxy each), or start one of your own without `MOTO_URL`.
   */
  reset(): Promise<void>;
  /** Ends the server if `startMoto` started it. Safe to call twice. */
  stop(): Promise<void>;
}

export type MotoSource = { kind: "running"; url: string } | { kind: "binary"; path: string };

const PROJECT_ROOT = join(import.meta.dirname, "../..");
const START_TIMEOUT_MS = 30_000;
/** How much of the server's stderr is kept for the message of a failed start. */
const STDERR_TAIL = 4_000;

const NOT_FOUND =
  "No moto_server found: MOTO_URL is not set, and there is none in .venv/bin or on PATH. " +
  "Run `npm run setup:moto`, which makes .venv and installs it (needs python3 with its venv module, e.g. " +
  "`apt-get install python3-venv`), or install it yourself with `pip install 'moto[server]'`.";

/**
 * Where moto comes from, in order: `MOTO_URL` (already running), `.venv/bin/moto_server` under `root`, `moto_server` on
 * `PATH`. Throws an error that says what to install when there is none.
 */
export function resolveMoto(env: NodeJS.ProcessEnv = process.env, root: string = PROJECT_ROOT): MotoSource {
  if (env.MOTO_URL) return { kind: "running", url: env.MOTO_URL.replace(/\/+$/, "") };
  const directories = [join(root, ".venv/bin"), ...(env.PATH ?? "").split(delimiter).filter((part) => part !== "")];
  const path = directories.map((directory) => join(directory, "moto_server")).find(isExecutable);
  if (path === undefined) throw new Error(NOT_FOUND);
  return { kind: "binary", path };
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * Starts moto, or takes the one at `MOTO_URL`, and resolves once it answers. A server started here listens on a free
 * loopback port, gets `env` as its environment (so `MOTO_*` settings can be passed), and dies with this process.
 * Rejects with the server's stderr if it exits early, and with what to install if there is no server.
 *
 * EC2 instances change state at once in moto, and its state manager does not know them: a test that needs `pending` or
 * `stopping` to last rewrites the answer in the fault proxy.
 */
export async function startMoto(env: NodeJS.ProcessEnv = process.env, root: string = PROJECT_ROOT): Promise<Moto> {
  const source = resolveMoto(env, root);
  if (source.kind === "running") {
    await check(source.url, "MOTO_URL");
    return { url: source.url, reset: refuseReset, stop: async () => {} };
  }
  const child = spawn(source.path, ["-H", "127.0.0.1", "-p", "0"], { env, stdio: ["ignore", "ignore", "pipe"] });
  const kill = () => void child.kill("SIGKILL");
  const release = killOnExit(kill);
  const stop = async () => {
    release();
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.ref();
    kill();
    await exited;
  };
  try {
    const url = await listeningUrl(child, source.path);
    await check(url, source.path);
    return { url, reset: () => post(`${url}/moto-api/reset`), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/**
 * The address moto prints once its socket listens. Letting it choose the port (`-p 0`) and reading the choice leaves no
 * moment in which another process can take a port we picked.
 */
function listeningUrl(child: ChildProcess, path: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let tail = "";
  const fail = (what: string) => reject(new Error(`${path} ${what}\n${tail}`.trimEnd()));
  const timer = setTimeout(() => fail(`was not ready within ${START_TIMEOUT_MS / 1000} s`), START_TIMEOUT_MS);
  const { stderr } = child;
  stderr?.setEncoding("utf8");
  // Read to the end, long after the start: a full pipe would block the server, which logs every request.
  stderr?.on("data", (chunk: string) => {
    tail = (tail + chunk).slice(-STDERR_TAIL);
    const url = /Running on (http:\/\/127\.0\.0\.1:\d+)/.exec(tail)?.[1];
    if (url !== undefined) resolve(url);
  });
  child.once("error", (error) => fail(`could not be started: ${error.message}`));
  child.once("close", (code, signal) => fail(`exited before it was ready (${signal ?? `code ${code}`})`));
  return promise
    .finally(() => clearTimeout(timer))
    .then((url) => {
      // A test that forgets stop() still ends; the exit handler then ends the server.
      child.unref();
      if (stderr !== null && "unref" in stderr && typeof stderr.unref === "function") stderr.unref();
      return url;
    });
}

/** Runs `kill` however this process ends, short of SIGKILL. Returns a function that undoes it. */
function killOnExit(kill: () => void): () => void {
  const onSignal = (signal: NodeJS.Signals) => {
    kill();
    release();
    process.kill(process.pid, signal);
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  const release = () => {
    process.off("exit", kill);
    for (const signal of signals) process.off(signal, onSignal);
  };
  process.on("exit", kill);
  for (const signal of signals) process.on(signal, onSignal);
  return release;
}

async function check(url: string, origin: string): Promise<void> {
  try {
    const response = await fetch(`${url}/moto-api/`, { signal: AbortSignal.timeout(START_TIMEOUT_MS) });
    await response.body?.cancel();
    if (response.ok) return;
    throw new Error(`HTTP ${response.status}`);
  } catch (cause) {
    throw new Error(`The moto server at ${url} (${origin}) does not answer /moto-api/`, { cause });
  }
}

async function post(url: string): Promise<void> {
  const response = await fetch(url, { method: "POST" });
  if (!response.ok) throw new Error(`POST ${url} answered ${response.status}: ${await response.text()}`);
  await response.body?.cancel();
}

async function refuseReset(): Promise<void> {
  throw new Error("This moto is shared (MOTO_URL): reset() would wipe what other test files are using.");
}
