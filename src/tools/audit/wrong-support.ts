import { HOSTILE_TEXTS, LONG, NOT_TEXT, type WrongArguments } from "../../../test/support/wrong.ts";

/** No time. */
const WRONG_TIMES = [...HOSTILE_TEXTS, ...NOT_TEXT, "yesterday", "2026-13-01", "2026-02-30T00:00:00Z", "-1h", "1"];
/** Any short text may be a name; so may a hostile one, which then finds nothing. */
const WRONG_NAMES = ["", LONG, ...NOT_TEXT];

export const auditWrong: Record<string, WrongArguments> = {
  audit_search: {
    good: {},
    wrong: {
      since: WRONG_TIMES,
      until: WRONG_TIMES,
      user: WRONG_NAMES,
      tool: WRONG_NAMES,
      resource_id: WRONG_NAMES,
      outcome: [LONG, ...NOT_TEXT],
      call_id: [LONG, ...NOT_TEXT],
      event: [...HOSTILE_TEXTS, ...NOT_TEXT, "Intent", "outcomes"],
    },
  },
};
