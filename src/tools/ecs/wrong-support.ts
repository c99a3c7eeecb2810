import type { WrongArguments } from "../../../test/support/wrong.ts";

export const ecsWrong: Record<string, WrongArguments> = {};
