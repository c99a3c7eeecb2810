import { readFileSync } from "node:fs";

/**
 * For `NODE_OPTIONS`: writes down every connection, name looked up, file opened and program started by a process, one JSON
 * object a line, into the file that MCP_TEST_WITNESS names.
 */
const SOURCE = `
import fs from "node:fs";
import net from "node:net";
import dns from "node:dns";
import dgram from "node:dgram";
import child from "node:child_process";
import { syncBuiltinESMExports } from "node:module";
const fd = fs.openSync(process.env.MCP_TEST_WITNESS, "a", 0o600);
const write = fs.writeSync;
const note = (kind, what) => write(fd, JSON.stringify({ kind, what: String(what) }) + "\\n");
const wrap = (object, name, kind, of = (args) => args[0]) => {
  const real = object[name];
  if (typeof real !== "function") return;
  object[name] = function (...args) { note(kind, of(args)); return Reflect.apply(real, this, args); };
};
wrap(net.Socket.prototype, "connect", "connect", ([given]) => {
  const options = Array.isArray(given) ? given[0] : given;
  return options?.path ?? (options?.host ?? "localhost") + ":" + (options?.port ?? options);
});
for (const name of ["lookup", "resolve", "resolve4", "resolve6"]) {
  wrap(dns, name, "lookup");
  wrap(dns.promises, name, "lookup");
}
wrap(dgram.Socket.prototype, "send", "datagram");
for (const name of ["open", "openSync", "readFile", "readFileSync", "createReadStream", "readdir", "readdirSync", "createWriteStream", "writeFile", "writeFileSync"]) wrap(fs, name, "file");
for (const name of ["open", "readFile", "readdir", "writeFile"]) wrap(fs.promises, name, "file");
for (const name of ["spawn", "spawnSync", "exec", "execSync", "execFile", "execFileSync", "fork"]) wrap(child, name, "program");
syncBuiltinESMExports();
`;
export const WITNESS = `--import=data:text/javascript,${encodeURIComponent(SOURCE)}`;

export interface Seen {
  kind: "connect" | "lookup" | "datagram" | "file" | "program";
  what: string;
}

export function seenIn(file: string): Seen[] {
  return readFileSync(file, "utf8")
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Seen);
}
