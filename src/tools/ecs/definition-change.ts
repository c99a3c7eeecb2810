import type { ContainerDefinition, TaskDefinition } from "@aws-sdk/client-ecs";
import * as z from "zod";
import { ToolError } from "../../core/errors.ts";
import { isSecretName } from "../../core/secret-name.ts";
import { cut } from "./container-view.ts";
import { type Registerable, registerable } from "./definition-diff.ts";
import { parseImage } from "./image.ts";

// What may be changed on the way from one revision to the next, and nothing else: images, CPU, memory, environment.

const ENV_NAME = /^[A-Za-z_][A-Za-z0-9_.-]{0,127}$/;
const CONTAINER_NAME = /^[A-Za-z0-9_-]{1,255}$/;
/** The pattern is checked, and not shown: in what a model reads it would say less than the name of the field. */
const matching = (pattern: RegExp, what: string, max: number) =>
  z
    .string()
    .max(max)
    .refine((given) => pattern.test(given), `not a ${what}`);
const ContainerName = matching(CONTAINER_NAME, "container name such as web", 255);
const CpuUnits = z.int().min(1).max(200_000);
const MemoryMib = z.int().min(4).max(30_000_000);

const ContainerChange = z.strictObject({
  name: ContainerName.optional().describe("Needed if there are several"),
  image: z
    .string()
    .max(512)
    .refine((text) => parseImage(text) !== undefined, "not an image such as registry.example/team/web:1.2")
    .optional(),
  cpu_units: CpuUnits.optional(),
  memory_mib: MemoryMib.optional(),
  memory_reservation_mib: MemoryMib.optional(),
});

const EnvironmentChange = z
  .strictObject({
    container: ContainerName.optional(),
    name: matching(ENV_NAME, "variable name such as LOG_LEVEL", 128),
    value: z.string().max(4_096).nullable(),
  })
  .refine(({ name, value }) => value === null || !isSecretName(name), {
    path: ["name"],
    message: "looks like a secret, which a task definition shows to everybody; use Secrets Manager and `secrets`",
  });

export const changeFields = {
  cpu_units: CpuUnits.optional().describe("1024 = 1 vCPU"),
  memory_mib: MemoryMib.optional(),
  containers: z.array(ContainerChange).min(1).max(20).optional(),
  environment: z.array(EnvironmentChange).min(1).max(50).optional().describe("value null removes; no secrets"),
};
const Changes = z.object(changeFields);
export type Changes = z.output<typeof Changes>;

/**
 * The next revision: the base with the changes, and everything else as it is.
 * @throws ToolError `invalid_input` for a container that does not exist or is not named though there are several,
 *   `conflict` for a variable that comes from a secret store
 */
export function applyChanges(base: TaskDefinition, changes: Changes): Registerable {
  const next = registerable(structuredClone(base));
  const containers = next.containerDefinitions ?? [];
  if (changes.cpu_units !== undefined) next.cpu = String(changes.cpu_units);
  if (changes.memory_mib !== undefined) next.memory = String(changes.memory_mib);
  const changed = new Set<ContainerDefinition>();
  for (const [index, change] of (changes.containers ?? []).entries()) {
    const container = containerOf(containers, change.name, `containers.${index}.name`);
    if (changed.has(container)) throw wrong(`containers.${index}.name: ${cut(container.name)} is named twice.`);
    changed.add(container);
    if (change.image !== undefined) container.image = change.image;
    if (change.cpu_units !== undefined) container.cpu = change.cpu_units;
    if (change.memory_mib !== undefined) container.memory = change.memory_mib;
    if (change.memory_reservation_mib !== undefined) container.memoryReservation = change.memory_reservation_mib;
  }
  const variables = new Set<string>();
  for (const [index, { container: named, name, value }] of (changes.environment ?? []).entries()) {
    const container = containerOf(containers, named, `environment.${index}.container`);
    const variable = `${container.name} ${name}`;
    if (variables.has(variable)) throw wrong(`environment.${index}.name: ${name} is named twice.`);
    variables.add(variable);
    setVariable(container, name, value);
  }
  return next;
}

function containerOf(containers: readonly ContainerDefinition[], name: string | undefined, where: string) {
  const found = name === undefined ? containers : containers.filter((container) => container.name === name);
  const [only] = found;
  if (only && found.length === 1) return only;
  const names = containers
    .slice(0, 10)
    .map((container) => cut(container.name))
    .join(", ");
  throw wrong(
    name === undefined ? `${where}: name one of ${names}.` : `${where}: there is no ${name}; there is ${names}.`,
  );
}

function setVariable(container: ContainerDefinition, name: string, value: string | null): void {
  if (value !== null && container.secrets?.some((secret) => secret.name === name)) {
    throw new ToolError("conflict", `${name} of ${cut(container.name)} comes from a secret store.`, {
      nextStep: "Change it in the secret store; a plain variable of the same name is not possible beside it.",
    });
  }
  const list = container.environment ?? [];
  const at = list.findIndex((variable) => variable.name === name);
  if (value === null) container.environment = list.filter((variable) => variable.name !== name);
  else if (at >= 0) container.environment = list.map((variable, index) => (index === at ? { name, value } : variable));
  else container.environment = [...list, { name, value }];
}

function wrong(message: string): ToolError {
  return new ToolError("invalid_input", message, {
    nextStep: "Correct the arguments; ecs_describe_task_definition shows the containers.",
  });
}
