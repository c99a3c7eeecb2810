import type { ContainerDefinition, LogConfiguration, Volume } from "@aws-sdk/client-ecs";
import * as z from "zod";
import { cleanText } from "../../core/text.ts";
import { parseImage } from "./image.ts";

// What a reader may see of a container. A value somebody can type a secret into is never shown, whatever it looks like:
// of environment, labels and options the names, of commands how long they are. Everything else is chosen field by field,
// so that a field AWS adds some day is not shown by accident.

export const ContainerView = z.object({
  name: z.string(),
  image: z.string(),
  essential: z.boolean(),
  resources: z.string().optional(),
  ports: z.array(z.string()).optional(),
  environment: z.array(z.string()).optional(),
  environment_omitted: z.int().optional(),
  secrets_from: z.array(z.string()).optional(),
  logs: z.string().optional(),
  depends_on: z.array(z.string()).optional(),
  mounts: z.array(z.string()).optional(),
  flags: z.array(z.string()).optional(),
  hidden: z.array(z.string()).optional(),
});
export type ContainerView = z.input<typeof ContainerView>;

/** Bytes for the lists of all containers of a definition, and of one. */
const MAX_LISTS = 50_000;
const MAX_CONTAINER_LISTS = 12_000;
const MAX_NAMED = 400;
const MAX_NAME = 64;

/** @param share by how many containers the room has to be divided */
export function viewContainer(container: ContainerDefinition, share: number): ContainerView {
  const room = Math.min(MAX_CONTAINER_LISTS, MAX_LISTS / share);
  const variables = (container.environment ?? []).map(
    ({ name, value }) => `${cut(name)}${value === "" ? " (empty)" : ""}`,
  );
  const environment = variables.slice(0, countFitting(variables, 0.35 * room));
  const sources = (container.secrets ?? []).map(({ name, valueFrom }) => `${cut(name)} ← ${sourceOf(valueFrom)}`);
  const dependencies = (container.dependsOn ?? []).map((one) => `${cut(one.containerName)} ${cut(one.condition)}`);
  const mounts = (container.mountPoints ?? []).map(
    ({ sourceVolume, containerPath, readOnly }) =>
      `${cut(sourceVolume)} → ${cut(containerPath)}${readOnly ? " (read-only)" : ""}`,
  );
  const lists = {
    ports: fitting((container.portMappings ?? []).map(portOf), 0.1 * room),
    environment,
    secrets_from: fitting(sources, 0.25 * room),
    depends_on: fitting(dependencies, 0.05 * room),
    mounts: fitting(mounts, 0.1 * room),
    flags: flagsOf(container),
    hidden: hiddenIn(container),
  };
  const resources = containerResources(container);
  return {
    name: cut(container.name),
    image: imageOf(container.image),
    // ECS takes a container for essential unless it says otherwise.
    essential: container.essential ?? true,
    ...(resources && { resources }),
    ...Object.fromEntries(Object.entries(lists).filter(([, list]) => list.length > 0)),
    ...(variables.length > environment.length && { environment_omitted: variables.length - environment.length }),
    ...(container.logConfiguration && { logs: logsOf(container.logConfiguration) }),
  };
}

/** An image that cannot be read as one could hold anything, credentials too. */
export function imageOf(image: string | undefined): string {
  return image !== undefined && parseImage(image) ? image : "(not a readable image reference)";
}

/** Where ECS takes a secret from. Only an ARN is shown: anything else might be a secret somebody put there by mistake. */
function sourceOf(valueFrom: string | undefined): string {
  const manager =
    /^arn:aws[\w-]*:secretsmanager:[\w-]+:\d{12}:secret:([\w/+=.@-]{1,512})(?::([\w.-]*))?(?::[\w.-]*){0,2}$/;
  const [, secret, key] = manager.exec(valueFrom ?? "") ?? [];
  if (secret) return `Secrets Manager ${cut(secret)}${key ? `, key ${cut(key)}` : ""}`;
  const parameter = /^arn:aws[\w-]*:ssm:[\w-]+:\d{12}:parameter(\/[\w./-]{1,1011})$/.exec(valueFrom ?? "")?.[1];
  return parameter ? `SSM parameter ${cut(parameter)}` : "SSM parameter (given by name, not shown)";
}

function portOf(port: NonNullable<ContainerDefinition["portMappings"]>[number]): string {
  const { containerPort, containerPortRange, hostPort, protocol = "tcp", name } = port;
  const host = hostPort && hostPort !== containerPort ? `${hostPort}:` : "";
  return `${host}${containerPort ?? containerPortRange ?? "?"}/${protocol}${name ? ` ${cut(name)}` : ""}`;
}

function containerResources({ cpu, memory, memoryReservation }: ContainerDefinition): string | undefined {
  const parts = [
    ...(cpu ? [`${cpu / 1024} vCPU`] : []),
    ...(memory ? [`${memory} MiB`] : []),
    ...(memoryReservation ? [`${memoryReservation} MiB reserved`] : []),
  ];
  return parts.length > 0 ? parts.join(", ") : undefined;
}

/** Options of the awslogs driver that say where to look for the logs; all they can name is a log group. */
const LOG_PLACE = ["awslogs-group", "awslogs-region", "awslogs-stream-prefix"];

function logsOf({ logDriver, options }: LogConfiguration): string {
  const place = LOG_PLACE.flatMap((key) => {
    const value = options?.[key];
    return logDriver === "awslogs" && value !== undefined && /^[\w./#-]{1,512}$/.test(value)
      ? `${key.slice("awslogs-".length)} ${cut(value, 128)}`
      : [];
  });
  return [logDriver ?? "unknown driver", ...place].join(", ");
}

function flagsOf(container: ContainerDefinition): string[] {
  const { privileged, readonlyRootFilesystem, interactive, pseudoTerminal, disableNetworking } = container;
  const flags = { privileged, "read-only root": readonlyRootFilesystem, interactive, tty: pseudoTerminal };
  const added = container.linuxParameters?.capabilities?.add ?? [];
  return [
    ...Object.entries({ ...flags, "no network": disableNetworking }).flatMap(([flag, set]) => (set ? [flag] : [])),
    ...(added.length > 0
      ? [
          `capabilities added: ${firstOf(added, 8)
            .map((name) => cut(name))
            .join(", ")}`,
        ]
      : []),
  ];
}

/** Fields that have their own place in the view, or are spelled out below. */
const SPELLED_OUT: ReadonlySet<string> = new Set<keyof ContainerDefinition>([
  ...([
    "name",
    "image",
    "essential",
    "cpu",
    "memory",
    "memoryReservation",
    "portMappings",
    "environment",
    "secrets",
  ] as const),
  ...(["logConfiguration", "dependsOn", "mountPoints", "privileged", "readonlyRootFilesystem", "interactive"] as const),
  ...(["pseudoTerminal", "disableNetworking", "entryPoint", "command", "healthCheck", "environmentFiles"] as const),
  ...(["dockerLabels", "firelensConfiguration", "repositoryCredentials", "linuxParameters"] as const),
]);

/** What the container has besides, without what it says. */
function hiddenIn(container: ContainerDefinition): string[] {
  const { logConfiguration, firelensConfiguration } = container;
  const options = Object.keys(logConfiguration?.options ?? {}).filter((key) => !LOG_PLACE.includes(key));
  const secretOptions = (logConfiguration?.secretOptions ?? []).map(({ name }) => name ?? "");
  const linux = Object.keys(container.linuxParameters ?? {}).filter((key) => key !== "capabilities");
  const others = Object.entries(container).filter(([key, value]) => !SPELLED_OUT.has(key) && !isEmpty(value));
  return [
    ...parts("entry point", container.entryPoint, "parts"),
    ...parts("command", container.command, "parts"),
    ...parts("health check", container.healthCheck?.command, "parts"),
    ...parts("environment files", container.environmentFiles),
    ...named("labels", Object.keys(container.dockerLabels ?? {})),
    ...named("log options", options),
    ...named("log options from secrets", secretOptions),
    ...named("log router options", Object.keys(firelensConfiguration?.options ?? {})),
    ...(container.repositoryCredentials ? ["registry credentials"] : []),
    ...named("Linux parameters", linux),
    ...named(
      "also set",
      others.map(([key]) => key),
    ),
  ];
}

function isEmpty(value: unknown): boolean {
  return value === undefined || value === null || (Array.isArray(value) && value.length === 0);
}

/** Where a volume's data is; what is mounted how stays with the driver. */
export function viewVolume(volume: Volume): string {
  const { dockerVolumeConfiguration: docker, efsVolumeConfiguration: efs } = volume;
  const { fsxWindowsFileServerVolumeConfiguration: fsx, s3filesVolumeConfiguration: s3, host } = volume;
  const options = [...Object.keys(docker?.driverOpts ?? {}), ...Object.keys(docker?.labels ?? {})];
  const kind = efs
    ? `EFS ${cut(efs.fileSystemId)}`
    : fsx
      ? `FSx ${cut(fsx.fileSystemId)}`
      : s3
        ? "S3 Files"
        : docker
          ? ["Docker", ...named("options", options)].join(", ")
          : volume.configuredAtLaunch
            ? "configured at launch"
            : host?.sourcePath
              ? "host path"
              : "empty at start";
  return `${cut(volume.name)} (${kind})`;
}

export function parts(what: string, list: readonly unknown[] | undefined, unit = "entries"): string[] {
  return list && list.length > 0 ? [`${what} (${list.length} ${unit})`] : [];
}

export function named(what: string, names: readonly string[]): string[] {
  const shown = names.map((name) => cut(name));
  return names.length > 0 ? [`${what}: ${fitting(shown, MAX_NAMED).join(", ")}`] : [];
}

/** As many of a list as there is room for, and how many more there are. */
function fitting(list: readonly string[], bytes: number): string[] {
  return firstOf(list, countFitting(list, bytes));
}

function countFitting(list: readonly string[], bytes: number): number {
  let left = bytes;
  const first = list.findIndex((text) => {
    left -= Buffer.byteLength(text) + 3;
    return left < 0;
  });
  return first < 0 ? list.length : first;
}

/** The first of a list, and how many more there are. */
export function firstOf(list: readonly string[], max: number): string[] {
  return list.length > max ? [...list.slice(0, max), `and ${list.length - max} more`] : [...list];
}

export function cut(text: string | undefined, max = MAX_NAME): string {
  return cleanText(text ?? "", max);
}
