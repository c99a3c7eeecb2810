import type { Container, Task } from "@aws-sdk/client-ecs";
import { cleanText } from "../../core/text.ts";
import { nameFromArn } from "./names.ts";

// Why tasks stopped.

/** Tasks that stopped for the same reason. */
export interface StoppedGroup {
  reason: string;
  /** `service:web`, or the family of tasks that no service runs. */
  of: string;
  tasks: number;
  last: Date | undefined;
  /** The latest of them. */
  task: string;
}

const MAX_REASON = 300;

/** What an exit code usually means to whoever runs containers. */
export function exitMeaning(code: number): string | undefined {
  switch (code) {
    case 0:
      return "ended by itself without an error";
    case 126:
      return "the command cannot be executed";
    case 127:
      return "the command was not found";
    case 134:
      return "aborted itself (SIGABRT)";
    case 137:
      return "killed (SIGKILL): out of memory, or not stopped in time";
    case 139:
      return "crashed (SIGSEGV)";
    case 143:
      return "asked to stop (SIGTERM)";
    default:
      return code === 255 ? "the application failed, or the container was lost" : undefined;
  }
}

/** `app exited with 137 (killed …): OutOfMemoryError…`; undefined for a container that has not ended and gives no reason. */
export function endOf({ name = "", lastStatus, exitCode, reason }: Container): string | undefined {
  const why = reason ? `: ${reason}` : "";
  if (typeof exitCode !== "number" || lastStatus !== "STOPPED") return reason ? `${name}${why}` : undefined;
  const meaning = exitMeaning(exitCode);
  return `${name} exited with ${exitCode}${meaning ? ` (${meaning})` : ""}${why}`;
}

/** Whether a stopped task is bad news: not scaled in, stopped by a person, or a job that ended well. */
export function isFailure(task: Task): boolean {
  const badExit = (task.containers ?? []).some(({ exitCode, reason }) => (exitCode ?? 0) !== 0 || Boolean(reason));
  switch (task.stopCode) {
    case "UserInitiated":
      return false;
    case "ServiceSchedulerInitiated":
      return !task.stoppedReason?.startsWith("Scaling activity");
    case "EssentialContainerExited":
      return badExit || isOfService(task);
    case undefined:
      return badExit;
    default:
      return true;
  }
}

/** The task's reason and its containers' in one line. */
export function whyStopped(task: Task): string {
  const ends = (task.containers ?? []).flatMap((container) => {
    const notable = (container.exitCode ?? 0) !== 0 || container.reason || task.stopCode === "EssentialContainerExited";
    return notable ? (endOf(container) ?? []) : [];
  });
  const parts = [task.stopCode, task.stoppedReason, ...ends].filter((part) => part);
  return cleanText(parts.join("; ") || "ECS gives no reason", MAX_REASON);
}

/** `service:web` or the family, for a task that no service runs. */
export function ownerOf(task: Task): string {
  return task.group || nameFromArn(task.taskDefinitionArn);
}

/** By reason and owner, the latest first. */
export function groupStopped(tasks: readonly Task[]): StoppedGroup[] {
  const groups = new Map<string, StoppedGroup>();
  const latestFirst = [...tasks].sort((a, b) => (b.stoppedAt?.getTime() ?? 0) - (a.stoppedAt?.getTime() ?? 0));
  for (const task of latestFirst) {
    const reason = whyStopped(task);
    const of = ownerOf(task);
    const key = JSON.stringify([sameReason(reason), of]);
    const group = groups.get(key);
    if (group) group.tasks += 1;
    else groups.set(key, { reason, of, tasks: 1, last: task.stoppedAt, task: nameFromArn(task.taskArn) });
  }
  return [...groups.values()];
}

/** `3 tasks of service:web, last 2026-01-31T08:00:00.000Z (0123…): EssentialContainerExited; …` */
export function groupText({ reason, of, tasks, last, task }: StoppedGroup): string {
  const when = last ? `, last ${last.toISOString()}` : "";
  return `${tasks} ${tasks === 1 ? "task" : "tasks"} of ${cleanText(of, 128)}${when} (${task}): ${reason}`;
}

const isOfService = (task: Task) => task.group?.startsWith("service:") ?? false;

/** Reasons that differ only in ids and addresses are one reason. */
function sameReason(reason: string): string {
  return reason.replace(/[0-9a-f]{8,}|\d+(\.\d+){3}|\beni-\w+/g, "#");
}
