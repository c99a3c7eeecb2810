import { format } from "node:util";
import { pino } from "pino";
import type { Log, LogLevel } from "../core/log.ts";
import { cleanText, escapeUnseen } from "../core/text.ts";

/**
 * Logs to stderr, which is the only place: in stdio mode stdout belongs to the protocol. One JSON object a line (so that
 * text in a field cannot forge a line), or one readable line on a terminal. JSON leaves DEL, C1 controls and bidi marks as
 * they are, and somebody will read the file on a terminal: they are written as escapes.
 */
export function createLog(level: LogLevel, stream: NodeJS.WriteStream = process.stderr): Log {
  // Whoever reads the log may go away; that is no reason to stop serving, least of all before an outcome is recorded.
  stream.on("error", () => {});
  const shown = stream.isTTY ? readable : escapeUnseen;
  const destination = { write: (line: string) => stream.write(shown(line)) };
  return pino(
    {
      level,
      base: { service: "mcp-aws-server" },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  );
}

/**
 * What others would write into this process's output becomes lines of the log: libraries that print, Node's warnings, and
 * the defect that ends the process. Over stdio, standard output is the protocol's.
 */
export function captureOutput(log: Log): void {
  const say = (...said: unknown[]) => log.warn({ err: described(format(...said)) }, "a library reports");
  for (const way of ["log", "info", "debug", "warn", "error", "trace"] as const) console[way] = say;
  process.removeAllListeners("warning");
  process.on("warning", ({ name, message }) => log.warn({ err: described(`${name}: ${message}`) }, "Node warns"));
  process.on("uncaughtException", (error: unknown) => {
    const stack = error instanceof Error ? error.stack : String(error);
    log.error({ err: described(stack ?? String(error)) }, "stopped by a defect");
    process.exit(1);
  });
}

function described(text: string): string {
  return cleanText(text, 2_000);
}

function readable(line: string): string {
  const { time, level, msg, service: _service, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const rest = Object.entries(fields).map(
    ([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`,
  );
  const text = [String(time).slice(11, 19), String(level).toUpperCase().padEnd(5), msg, ...rest].join(" ");
  // Fields may hold text from outside; a terminal obeys control characters.
  return `${text.replace(/[\p{Cc}\p{Cf}]/gu, " ")}\n`;
}
