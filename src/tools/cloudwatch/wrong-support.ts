import type { WrongArguments } from "../../../test/support/wrong.ts";

export const cloudwatchWrong: Record<string, WrongArguments> = {};
