import { pino } from "pino";
import type { Log, LogLevel } from "../core/log.ts";

/**
 * Logs to stderr, which is the only place: in stdio mode stdout belongs to the protocol. One JSON object a line (so that
 * text in a field cannot forge a line), or one readable line on a terminal.
 */
export function createLog(level: LogLevel, stream: NodeJS.WriteStream = process.stderr): Log {
  // Whoever reads the log may go away; that is no reason to stop serving, least of all before an outcome is recorded.
  stream.on("error", () => {});
  const destination = stream.isTTY ? { write: (line: string) => stream.write(readable(line)) } : stream;
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

function readable(line: string): string {
  const { time, level, msg, service: _service, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const rest = Object.entries(fields).map(
    ([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`,
  );
  const text = [String(time).slice(11, 19), String(level).toUpperCase().padEnd(5), msg, ...rest].join(" ");
  // Fields may hold text from outside; a terminal obeys control characters.
  return `${text.replace(/[\p{Cc}\p{Cf}]/gu, " ")}\n`;
}
