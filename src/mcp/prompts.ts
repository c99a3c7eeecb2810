import {
  type GetPromptResult,
  ProtocolError,
  ProtocolErrorCode,
  type Prompt as ProtocolPrompt,
} from "@modelcontextprotocol/server";
import type { Principal } from "../core/call.ts";
import { cleanText } from "../core/text.ts";

/** Ready-made jobs, for whoever may use every tool they need. */
export interface Prompts {
  list(principal: Principal): Promise<ProtocolPrompt[]>;
  /** @throws ProtocolError for a prompt that is not listed, or arguments it does not take */
  get(principal: Principal, name: string, given: Readonly<Record<string, string>>): Promise<GetPromptResult>;
}

/** What this room needs of a prompt. */
interface Job {
  name: string;
  title: string;
  description: string;
  arguments: readonly { name: string; description: string; required: boolean }[];
  tools: readonly string[];
}

/**
 * @param usable the names of the tools a principal may see
 * @param textOf a prompt's text; throws an Error, in a sentence, for arguments it does not take
 */
export function createPrompts<J extends Job>(
  jobs: readonly J[],
  usable: (principal: Principal) => Promise<ReadonlySet<string>>,
  textOf: (job: J, given: Readonly<Record<string, string>>) => string,
): Prompts {
  const offered = async (principal: Principal) => {
    const tools = await usable(principal);
    return jobs.filter((job) => job.tools.every((tool) => tools.has(tool)));
  };
  const refuse = (message: string): never => {
    throw new ProtocolError(ProtocolErrorCode.InvalidParams, cleanText(message, 300));
  };
  return {
    async list(principal) {
      const prompts = await offered(principal);
      return prompts.map(({ name, title, description, arguments: given }) => {
        return { name, title, description, arguments: [...given] };
      });
    },
    async get(principal, name, given) {
      const prompts = await offered(principal);
      const job = prompts.find((each) => each.name === name);
      if (!job) return refuse(`Unknown prompt: ${name}. Prompts: ${prompts.map((each) => each.name).join(", ")}`);
      let text: string;
      try {
        text = textOf(job, given);
      } catch (error) {
        return refuse(error instanceof Error ? error.message : String(error));
      }
      return { description: job.description, messages: [{ role: "user", content: { type: "text", text } }] };
    },
  };
}
