import type { WrongArguments } from "../../../test/support/wrong.ts";

export const rdsWrong: Record<string, WrongArguments> = {};
