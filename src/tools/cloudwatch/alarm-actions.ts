import { fit } from "../shared/fit.ts";

/** Where an alarm's action goes, by the beginning of its ARN after region and account. */
const KINDS: readonly [service: RegExp, words: (rest: string) => string][] = [
  [/^sns$/, (rest) => `SNS topic ${rest}`],
  [/^lambda$/, (rest) => `Lambda function ${rest.replace(/^function:/, "")}`],
  [/^autoscaling$/, (rest) => `Auto Scaling policy ${rest.split("policyName/").at(-1)}`],
  [/^automate$/, (rest) => `EC2 ${rest.replace(/^ec2:/, "")} of the instance`],
  [/^swf$/, (rest) => `EC2 ${rest.split("InstanceId.").at(-1)?.split("/")[0]?.toLowerCase()} of the instance`],
  [/^ssm$/, (rest) => `OpsItem (severity ${/^opsitem:(\d)/.exec(rest)?.[1] ?? "?"})`],
  [/^ssm-incidents$/, (rest) => `Incident Manager plan ${rest.replace(/^response-plan[/:]/, "")}`],
  [/^aiops$/, (rest) => `investigation group ${rest.replace(/^investigation-group[/:]/, "")}`],
];

/** `SNS topic ops-alerts`, with region and account only where they are not the alarm's own. */
export function actionText(arn: string, own: { region: string; account: string }): string {
  const [scheme, , service = "", region = "", account = "", ...rest] = arn.split(":");
  if (scheme !== "arn" || rest.length === 0) return fit(arn, 120);
  const words = KINDS.find(([known]) => known.test(service))?.[1](rest.join(":")) ?? `${service} ${rest.join(":")}`;
  const elsewhere = [
    ...(region && region !== own.region ? [`in ${region}`] : []),
    ...(/^\d{12}$/.test(account) && account !== own.account ? ["of another account"] : []),
  ];
  return fit([words, ...elsewhere].join(" "), 160);
}

const MAX_ACTIONS = 15;

/** `on ALARM: SNS topic ops-alerts`, one line an action. */
export function actionLines(
  alarm: {
    AlarmActions?: readonly string[] | undefined;
    OKActions?: readonly string[] | undefined;
    InsufficientDataActions?: readonly string[] | undefined;
  },
  own: { region: string; account: string },
): string[] {
  const lines = [
    ...(alarm.AlarmActions ?? []).map((arn) => `on ALARM: ${actionText(arn, own)}`),
    ...(alarm.OKActions ?? []).map((arn) => `on OK: ${actionText(arn, own)}`),
    ...(alarm.InsufficientDataActions ?? []).map((arn) => `on INSUFFICIENT_DATA: ${actionText(arn, own)}`),
  ];
  return lines.slice(0, MAX_ACTIONS);
}
