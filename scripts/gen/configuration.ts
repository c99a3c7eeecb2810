import type * as z from "zod";
import { envName, flagName, SECRET_SETTINGS, Settings, settingNames } from "../../src/config.ts";
import { NOTICE } from "./notice.ts";

/** `docs/configuration.md` */
export function configuration(): string {
  const rows = settingNames.map((name) => {
    const schema: z.ZodType = Settings.shape[name];
    const fallback = schema.safeParse(undefined).data;
    const shown = fallback === undefined ? "" : `\`${Array.isArray(fallback) ? fallback.join(",") : fallback}\``;
    return `| ${SECRET_SETTINGS.has(name) ? "–" : `\`--${flagName(name)}\``} | \`${envName(name)}\` | \`${name}\` | ${shown} | ${schema.description} |`;
  });
  return `${NOTICE}

# Configuration

Every setting can be given as a flag, as an environment variable or in a YAML file (\`--config FILE\` or
\`MCP_AWS_CONFIG\`). The flag wins over the environment, the environment over the file. A name that does not exist is an
error that suggests the nearest one.

| flag | environment | file | default | what it is |
|---|---|---|---|---|
${rows.join("\n")}

The standard variables work too: \`AWS_REGION\`, \`AWS_DEFAULT_REGION\`, \`AWS_PROFILE\`, \`AWS_ENDPOINT_URL\`,
\`AWS_ACCESS_KEY_ID\` and the rest of the SDK's credential chain, \`LOG_LEVEL\`, \`XDG_STATE_HOME\`, \`NODE_EXTRA_CA_CERTS\`.
A setting of the table wins over a standard variable.
`;
}
