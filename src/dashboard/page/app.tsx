/** From the address to a page. */
import type { ComponentChildren } from "preact";
import { useRoute } from "./lib/route.ts";
import { Overview } from "./pages/overview.tsx";
import { Empty, Link } from "./parts/basics.tsx";
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
    default:
      return { title: "Not found", page: <NotFound /> };
  }
}

export function App() {
  const { path } = useRoute();
  const { title, page } = pageOf(path);
  return <Shell title={title}>{page}</Shell>;
}
