/** The testbed's network: one bridge on the machine, a veth pair per node; `eth0` inside. */
import { bridge, controllerAddress, type Layout, type NodeLayout } from "./layout.ts";
import { nsDir } from "./namespaces.ts";
import { run, until } from "./shell.ts";

/** Makes bridge and pairs in two batches (one fork each), then the inner ends. */
export async function makeNetwork(layout: Layout): Promise<void> {
  const outer = [
    `link add ${bridge} type bridge`,
    `addr add ${controllerAddress}/24 dev ${bridge}`,
    `link set ${bridge} up`,
    ...layout.nodes.flatMap((node) => [
      `link add ${node.veth} type veth peer name eth0 netns ${nsDir(layout.stateDir)}/${node.name}.net`,
      `link set ${node.veth} master ${bridge} up`,
    ]),
  ];
  await run(["ip", "-batch", "-"], { input: `${outer.join("\n")}\n` });
  for (const node of layout.nodes) {
    const inner = [
      `addr add ${node.address}/24 dev eth0`,
      "link set eth0 up",
      `route add default via ${controllerAddress}`,
    ];
    await run(["nsenter", `--net=${nsDir(layout.stateDir)}/${node.name}.net`, "ip", "-batch", "-"], {
      input: `${inner.join("\n")}\n`,
    });
  }
}

/** Takes a node off the network, or puts it back: what a pulled cable does. Returns when the kernel has seen it (up to a second). */
export async function setLink(node: NodeLayout, up: boolean): Promise<void> {
  await run(["ip", "link", "set", node.veth, up ? "up" : "down"]);
  await until(`${node.veth} is ${up ? "up" : "down"}`, 5000, async () => {
    const [link] = JSON.parse(await run(["ip", "-json", "link", "show", node.veth])) as {
      operstate: string;
    }[];
    return (link?.operstate === "UP") === up ? true : undefined;
  });
}

/** Removes the bridge and every interface that is enslaved to it. Nothing there is fine. */
export async function removeNetwork(): Promise<void> {
  for (const name of await linkNames()) await run(["ip", "link", "delete", name]);
}

/** The testbed's interfaces that exist now: the veths on the bridge, those that left it, the bridge last. */
export async function linkNames(): Promise<string[]> {
  const listed = JSON.parse(await run(["ip", "-json", "link", "show"])) as { ifname: string }[];
  const names = listed.map((link) => link.ifname).filter((name) => /^sublet-n\d+$/.test(name));
  return listed.some((link) => link.ifname === bridge) ? [...names, bridge] : names;
}
