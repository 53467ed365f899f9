/** From the address to a page. */
import type { ComponentChildren } from "preact";
import { useRoute } from "./lib/route.ts";
import { AboutPage } from "./pages/about.tsx";
import { AccountsPage } from "./pages/accounts.tsx";
import { LeasesPage } from "./pages/leases.tsx";
import { NodePage } from "./pages/node.tsx";
import { NodesPage } from "./pages/nodes.tsx";
import { Overview } from "./pages/overview.tsx";
import { ReclaimsPage } from "./pages/reclaims.tsx";
import { Empty, Link } from "./parts/basics.tsx";
import { Boundary } from "./parts/boundary.tsx";
import { Shell } from "./parts/shell.tsx";

interface Shown {
  readonly title: string;
  readonly page: ComponentChildren;
}

function NotFound() {
  return (
    <>
      <h1>Not found</h1>
      <Empty title="There is no such page.">
        <Link to={[]}>Overview</Link>
      </Empty>
    </>
  );
}

function pageOf(path: readonly string[]): Shown {
  switch (path[0]) {
    case undefined:
      return { title: "Overview", page: <Overview /> };
    case "nodes":
      return path[1] === undefined
        ? { title: "Nodes", page: <NodesPage /> }
        : { title: path[1], page: <NodePage key={path[1]} name={path[1]} /> };
    case "leases":
      return { title: "Leases and invocations", page: <LeasesPage /> };
    case "reclaims":
      return { title: "Reclaims", page: <ReclaimsPage /> };
    case "accounts":
      return { title: "Accounts", page: <AccountsPage /> };
    case "about":
      return { title: "About these figures", page: <AboutPage /> };
    default:
      return { title: "Not found", page: <NotFound /> };
  }
}

export function App() {
  const { path } = useRoute();
  const { title, page } = pageOf(path);
  return (
    <Shell title={title}>
      <Boundary key={path.join("/")}>{page}</Boundary>
    </Shell>
  );
}
