import type { WrongArguments } from "../../../test/support/wrong.ts";
import { deployWrong } from "./wrong-deploy-support.ts";
import { runningWrong } from "./wrong-running-support.ts";

export const ecsWrong: Record<string, WrongArguments> = { ...runningWrong, ...deployWrong };
