import { effectsOf, type IamAction, type Tool } from "../../src/core/tool.ts";
import { toProtocolTool } from "../../src/mcp/protocol-tool.ts";
import { catalog } from "../../src/tools/catalog.ts";
import { toolsetsOf } from "../../src/tools/toolsets.ts";
import { NOTICE } from "./notice.ts";

/** `docs/tools.md` */
export function toolsPage(): string {
  const groups = toolsetsOf(catalog).map((service) => ({
    service,
    tools: catalog.filter((tool) => tool.service === service),
  }));
  const overview = groups.flatMap(({ service, tools }) =>
    tools.map(
      (tool) => `| [${tool.name}](#${tool.name}) | ${service} | ${effectsOf(tool).join(", ")} | ${tool.title} |`,
    ),
  );
  return `${NOTICE}

# Tools

A tool's toolset is what \`--toolsets\` chooses by. A second effect is what its arguments can make of a call.

| tool | toolset | effect | |
|---|---|---|---|
${overview.join("\n")}

${groups.flatMap(({ tools }) => tools.map(section)).join("\n")}`;
}

function section(tool: Tool): string {
  const schema = toProtocolTool(tool).inputSchema as { properties?: Record<string, object>; required?: string[] };
  const properties = Object.entries(schema.properties ?? {}) as [string, Property][];
  const rows = properties.map(([name, property]) => {
    const required = schema.required?.includes(name) && property.default === undefined ? "required" : "";
    const fallback = property.default === undefined ? required : `\`${JSON.stringify(property.default)}\``;
    return `| \`${name}\` | ${typeOf(property)} | ${fallback} | ${property.description ?? ""} |`;
  });
  return `## ${tool.name}

${tool.description}

Effect: **${effectsOf(tool).join("**, by its arguments **")}**.

| argument | type | default | |
|---|---|---|---|
${rows.join("\n")}

\`\`\`json
${JSON.stringify(tool.example)}
\`\`\`

AWS actions:

${tool.iam.map(actionLine).join("\n") || "none"}
`;
}

function actionLine({ action, resource, unscoped, condition, impliedBy, effect }: IamAction): string {
  const parts = [
    resource === undefined ? "" : ` on ${[resource].flat().join(", ")}`,
    condition === undefined ? "" : `, if ${JSON.stringify(condition)}`,
    effect === undefined ? "" : `; for ${effect} only`,
    unscoped === undefined ? "" : `; ${unscoped}`,
    impliedBy === undefined ? "" : `; checked by AWS itself (${impliedBy})`,
  ];
  return `- \`${action}\`${parts.join("")}`;
}

interface Property {
  type?: string;
  enum?: string[];
  items?: Property;
  anyOf?: Property[];
  additionalProperties?: Property;
  default?: unknown;
  description?: string;
}

function typeOf(property: Property): string {
  if (property.enum) return property.enum.map((value) => `\`${value}\``).join(", ");
  if (property.anyOf) return property.anyOf.map(typeOf).join(" or ");
  if (property.type === "array") return `list of ${property.items ? typeOf(property.items) : "anything"}`;
  if (property.type === "object")
    return `object of ${property.additionalProperties ? typeOf(property.additionalProperties) : "anything"}`;
  return property.type ?? "anything";
}
