import type { WrongArguments } from "../../../test/support/wrong.ts";

export const logsWrong: Record<string, WrongArguments> = {};
