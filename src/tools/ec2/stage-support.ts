import { launch } from "../../../test/support/scene.ts";
import type { Stage } from "../../../test/support/stage.ts";
import type { World } from "../../../test/support/world.ts";

/** One running and one stopped instance. */
export async function stageEc2({ proxy }: Pick<World, "proxy">): Promise<Stage> {
  const { running, stopped } = await launch(proxy.url, { running: 1, stopped: 1, tags: { Name: "web-1" } });
  const missing = { instance_id: "i-0123456789abcdef0" };
  return {
    ec2_list_instances: { calls: [{}] },
    ec2_describe_instance: { calls: [{ instance_id: running[0] }], missing },
    ec2_start_instance: { calls: [{ instance_id: stopped[0] }], missing },
    ec2_stop_instance: { calls: [{ instance_id: running[0] }], missing },
  };
}
