import {
  HOSTILE_TEXTS,
  LONG,
  NOT_BOOLEAN,
  NOT_LIST,
  NOT_TEXT,
  type WrongArguments,
} from "../../../test/support/wrong.ts";

const GOOD_ID = "i-0123456789abcdef0";

/** Ids that look right, to a person. */
const HOSTILE_IDS = [
  ...HOSTILE_TEXTS,
  "i-0123456789abcdef", // one digit short
  "i-0123456789abcdef01", // one too many
  "i-0123456789ABCDEF0",
  "I-0123456789abcdef0",
  "i-0123456789abcdefg",
  "i_0123456789abcdef0",
  ` ${GOOD_ID}`,
  `${GOOD_ID} `,
  `${GOOD_ID}\n`,
  `${GOOD_ID}\u200B`,
  `${GOOD_ID}\u0000`,
  `${GOOD_ID},i-0fedcba9876543210`,
  `${GOOD_ID}&Action=TerminateInstances`,
  "i-0123456789аbcdef0", // a Cyrillic letter
  "ⅰ-0123456789abcdef0", // a Roman numeral
  "i‐0123456789abcdef0", // another hyphen
  "i-０１２３４５６７",
  "vol-0123456789abcdef0",
  "arn:aws:ec2:us-east-1:123456789012:instance/i-0123456789abcdef0",
  "*",
  "i-*",
];

const wrong: Record<string, readonly unknown[]> = {
  instance_id: [...HOSTILE_IDS, ...NOT_TEXT],
  states: [
    ...NOT_LIST,
    ["RUNNING"],
    ["running "],
    ["deleted"],
    ["__proto__"],
    Array.from({ length: 7 }, () => "running"),
  ],
  tags: [
    null,
    "env=prod",
    1,
    true,
    [],
    [{ Key: "env", Value: "prod" }],
    { env: null },
    { env: 1 },
    { env: true },
    { env: [] },
    { env: [1] },
    { env: { value: "prod" } },
    { env: LONG },
    { [LONG]: "x" },
    { "": "x" },
    { env: Array.from({ length: 51 }, String) },
    Object.fromEntries(Array.from({ length: 21 }, (_, index) => [`k${index}`, "v"])),
    JSON.parse('{"__proto__":"x"}'),
    JSON.parse('{"env":{"__proto__":"x"}}'),
  ],
  types: [...NOT_LIST, ["t3 micro"], ["T3.MICRO"], ["t3.micro; ls"], ["t3.мicro"], [LONG], [""], ["<t3>"]],
  vpc_id: [...HOSTILE_TEXTS, ...NOT_TEXT, "vpc-", "vpc-XYZ", "VPC-00000000", "vpc-0000000", "vpc-00000000 "],
  name_contains: ["", LONG, ...NOT_TEXT],
  instance_ids: [
    ...NOT_LIST,
    ...HOSTILE_IDS.map((value) => [value]),
    GOOD_ID,
    [GOOD_ID, "x"],
    Array.from({ length: 101 }, () => GOOD_ID),
  ],
  force: NOT_BOOLEAN,
  hibernate: NOT_BOOLEAN,
};

const oneInstance = { good: { instance_id: GOOD_ID }, wrong };

export const ec2Wrong: Record<string, WrongArguments> = {
  ec2_list_instances: { good: {}, wrong },
  ec2_describe_instance: oneInstance,
  ec2_start_instance: oneInstance,
  ec2_stop_instance: oneInstance,
};
