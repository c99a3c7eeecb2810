import { styleText } from "node:util";

// How the demo prints: who says what, in colours where the terminal has them.

type Style = Parameters<typeof styleText>[0];
const paint = (style: Style, text: string) => styleText(style, text, { stream: process.stdout });
const say = (text = "") => process.stdout.write(`${text}\n`);
const indent = (text: string, by = "    ") => text.replace(/^/gm, by);

export const stage = {
  title: (text: string) => say(`\n${paint(["bold", "inverse"], ` ${text} `)}`),
  scene: (number: number, text: string) => say(`\n${paint("bold", `${number}. ${text}`)}\n`),
  note: (text: string) => say(paint("dim", indent(text, "  "))),
  agent: (tool: string, args: object) =>
    say(`  ${paint("cyan", "agent")}   ${paint("bold", tool)} ${JSON.stringify(args)}`),
  reply: (content: Record<string, unknown>) => {
    const { error } = content as { error?: unknown };
    say(`  ${error ? paint("red", "error ") : paint("green", "server")}  ${readable(error ?? content)}`);
  },
  asked: (question: string, answer: string) => {
    say(`  ${paint("yellow", "person")}  is asked:`);
    say(paint("yellow", indent(question, "            ")));
    say(`          ${paint("dim", "answers:")} ${paint("bold", answer)}`);
  },
  shell: (line: string, output: string) => {
    say(`  ${paint("magenta", "$")} ${paint("bold", line)}`);
    say(indent(output.trimEnd(), "  "));
  },
  say,
};

/** Objects one member a line, two levels deep; what lies deeper stays JSON. */
function readable(value: unknown): string {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return JSON.stringify(value);
  const lines = Object.entries(value).map(([key, member]) => {
    const items = Array.isArray(member) && typeof member[0] === "object";
    const shown = items
      ? member.map((item) => `\n              ${JSON.stringify(item)}`).join("")
      : JSON.stringify(member);
    return `${paint("dim", `${key}:`)} ${shown}`;
  });
  return lines.join("\n          ");
}
