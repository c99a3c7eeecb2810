/** The parts of RegisterTaskDefinition's input that are looked at here. */
interface TaskDefinitionInput {
  family?: string;
  cpu?: string;
  memory?: string;
  containerDefinitions?: {
    name?: string;
    image?: string;
    cpu?: number;
    memory?: number;
    environment?: { name?: string }[];
  }[];
}

/**
 * Inputs in which anything may be a secret by its place alone, however harmless its name: what an audit row keeps of
 * them. What the redactor finds by name and shape is not enough there.
 */
const KEPT: Readonly<Record<string, (input: TaskDefinitionInput) => unknown>> = {
  "ecs:RegisterTaskDefinition": ({ family, cpu, memory, containerDefinitions = [] }) => ({
    family,
    cpu,
    memory,
    containers: containerDefinitions.map((container) => ({
      name: container.name,
      image: container.image,
      cpu: container.cpu,
      memory: container.memory,
      environment_names: container.environment?.map(({ name }) => name),
    })),
  }),
};

/** What is recorded of a command's input; the redactor still goes over it. */
export function recordable(action: string, input: unknown): unknown {
  return KEPT[action]?.(input as TaskDefinitionInput) ?? input;
}
