import { styleText } from "node:util";
import { escapeUnseen } from "../core/text.ts";

/** Columns of text, as wide as their longest cell. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  return rows
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** Colours on a terminal that wants them, plain text elsewhere. */
export function paint(style: Parameters<typeof styleText>[0], text: string): string {
  return styleText(style, text, { stream: process.stdout });
}

// `… | head` closes the pipe early, which is a normal way to end.
process.stdout.on("error", () => process.exit(0));

/** Whatever is in it, a terminal shows it and obeys nothing. */
export function print(text: string): void {
  process.stdout.write(`${escapeUnseen(text)}\n`);
}

/** Text with colours of ours; what else is in it has been made safe before. */
export function printPainted(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** As `print`, on standard error. */
export function complain(text: string): void {
  process.stderr.write(`${escapeUnseen(text)}\n`);
}

/** Text out of the trail may hold anything; a terminal obeys control characters. */
export function safe(text: unknown): string {
  return String(text ?? "").replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]|\p{Default_Ignorable_Code_Point}/gu, "?");
}

/** One line of JSON, the same value, with what a terminal would obey or nobody would see spelled as escapes. */
export function jsonLine(value: unknown): string {
  return escapeUnseen(JSON.stringify(value));
}
