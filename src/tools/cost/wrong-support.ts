import type { WrongArguments } from "../../../test/support/wrong.ts";

export const costWrong: Record<string, WrongArguments> = {};
