import type { Stage } from "../../test/support/stage.ts";
import type { World } from "../../test/support/world.ts";
import { stageAudit } from "./audit/stage-support.ts";
import { stageCloudwatch } from "./cloudwatch/stage-support.ts";
import { stageCost } from "./cost/stage-support.ts";
import { stageEc2 } from "./ec2/stage-support.ts";
import { stageEcs } from "./ecs/stage-support.ts";
import { stageLogs } from "./logs/stage-support.ts";
import { stageRds } from "./rds/stage-support.ts";

/** Sets up what every tool there is can be tried on. */
export async function stageAll(world: Pick<World, "proxy" | "call">): Promise<Stage> {
  const stage: Stage = {};
  for (const set of [stageEc2, stageEcs, stageRds, stageCloudwatch, stageLogs, stageCost, stageAudit]) {
    Object.assign(stage, await set(world));
  }
  return stage;
}
