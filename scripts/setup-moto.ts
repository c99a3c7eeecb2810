import { execFile } from "node:child_process";
import { existsSync, globSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { resolveMoto } from "../test/support/moto.ts";

/** Pinned, because the tests know this version's gaps. */
export const MOTO_VERSION = "5.2.5";

const PROJECT_ROOT = join(import.meta.dirname, "..");
const run = promisify(execFile);

export interface EnsuredMoto {
  /** `present`: nothing to do. `installed`: just now. `fallback`: could not be installed, another one will serve. */
  outcome: "present" | "installed" | "fallback";
  /** The moto_server that tests will start. */
  path: string;
}

/**
 * Makes `.venv` under `root` and installs the pinned moto into it, unless it is there. When that fails and some other
 * moto_server is found, says so on stderr and settles for it; otherwise throws an error that says what to install.
 */
export async function ensureMoto(
  env: NodeJS.ProcessEnv = process.env,
  root: string = PROJECT_ROOT,
): Promise<EnsuredMoto> {
  const venv = join(root, ".venv");
  const path = join(venv, "bin/moto_server");
  if (existsSync(path) && isPinned(venv)) return { outcome: "present", path };
  try {
    await install(env, venv);
    return { outcome: "installed", path };
  } catch (error) {
    const why = `moto ${MOTO_VERSION} could not be installed into ${venv}:\n${lastLines(error)}`;
    const other = fallback(env, root);
    if (other === undefined) {
      throw new Error(
        `${why}\nThere is no other moto_server on PATH. Install Python 3.10 or newer with its venv module (e.g. ` +
          "`apt-get install python3 python3-venv`), make the Python package index reachable, and run " +
          "`npm run setup:moto` again.",
      );
    }
    console.error(`${why}\nUsing ${other} instead; its version may differ from ${MOTO_VERSION}.`);
    return { outcome: "fallback", path: other };
  }
}

/** Reads the installed metadata, because asking Python takes a second. pip writes it last, when all else is in place. */
function isPinned(venv: string): boolean {
  return globSync(join(venv, `lib/python3*/site-packages/moto-${MOTO_VERSION}.dist-info/METADATA`)).length > 0;
}

async function install(env: NodeJS.ProcessEnv, venv: string): Promise<void> {
  await run("python3", ["-m", "venv", venv], { env });
  const pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1"];
  await run(join(venv, "bin/python"), [...pip, `moto[server]==${MOTO_VERSION}`], { env });
}

function fallback(env: NodeJS.ProcessEnv, root: string): string | undefined {
  try {
    const { MOTO_URL: _ignored, ...rest } = env;
    const source = resolveMoto(rest, root);
    return source.kind === "binary" ? source.path : undefined;
  } catch {
    return undefined;
  }
}

/** The end of what a failed command printed; Python explains itself there, on either stream. */
function lastLines(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { stdout = "", stderr = "" } = error as { stdout?: string; stderr?: string };
  const printed = `${stdout}\n${stderr}`.trim();
  return (printed === "" ? error.message : printed).split("\n").slice(-6).join("\n");
}

if (import.meta.main) {
  try {
    const { outcome, path } = await ensureMoto();
    console.error(`moto: ${outcome}, ${path}`);
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    process.exitCode = 1;
  }
}
