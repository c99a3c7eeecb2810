import { execFileSync } from "node:child_process";
import { accessSync, constants, globSync } from "node:fs";
import { delimiter, join } from "node:path";

export interface PostgresPrograms {
  initdb: string;
  postgres: string;
}

const NOT_FOUND =
  "No PostgreSQL found: neither in PG_BIN, nor on PATH, nor in /usr/lib/postgresql/*/bin. " +
  "Install it (`apt-get install postgresql`), or name the directory of initdb and postgres in PG_BIN.";

/**
 * Where PostgreSQL's programs are: in `PG_BIN`, on `PATH`, or where Debian and Red Hat put them (the newest version).
 * Throws an error that says what to install when there is none.
 */
export function findPostgres(env: NodeJS.ProcessEnv = process.env, installed?: readonly string[]): PostgresPrograms {
  const directories = [
    ...(env.PG_BIN ? [env.PG_BIN] : []),
    ...(env.PATH ?? "").split(delimiter).filter((part) => part !== ""),
    ...(installed ?? packaged()),
  ];
  for (const directory of directories) {
    const programs = { initdb: join(directory, "initdb"), postgres: join(directory, "postgres") };
    if (isExecutable(programs.initdb) && isExecutable(programs.postgres)) return programs;
  }
  throw new Error(NOT_FOUND);
}

function packaged(): string[] {
  const found = globSync(["/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin"]);
  const version = (path: string): number => Number(/(\d+)/.exec(path.replace(/^\/usr\/lib/, ""))?.[1] ?? 0);
  return found.sort((a, b) => version(b) - version(a));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** As whom PostgreSQL runs, which refuses to be root: how to start a program so, and whose its files must be. */
export interface Unprivileged {
  uid: number;
  gid: number;
  run: (program: string, args: readonly string[]) => string[];
}

export function unprivileged(): Unprivileged {
  const [uid, gid] = [process.getuid?.() ?? -1, process.getgid?.() ?? -1];
  // Where there is setpriv, the kernel ends the server with us, even when we are killed.
  const lifeline = works("setpriv", ["--pdeathsig", "KILL", "true"]) ? ["setpriv", "--pdeathsig", "KILL"] : [];
  if (uid !== 0) return { uid, gid, run: (program, args) => [...lifeline, program, ...args] };
  const user = ["postgres", "nobody"].find((name) => works("id", [name]));
  if (user === undefined || lifeline.length === 0) {
    throw new Error("PostgreSQL does not run as root: setpriv (util-linux) and a user postgres or nobody are needed.");
  }
  const id = (flag: string) => Number(execFileSync("id", [flag, user], { encoding: "utf8" }));
  const as = { uid: id("-u"), gid: id("-g") };
  const change = ["--reuid", String(as.uid), "--regid", String(as.gid), "--clear-groups"];
  return { ...as, run: (program, args) => [...lifeline, ...change, program, ...args] };
}

function works(program: string, args: readonly string[]): boolean {
  try {
    execFileSync(program, args, { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
