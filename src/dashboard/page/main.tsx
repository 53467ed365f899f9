import { render } from "preact";
import { readSession } from "./admin/session.ts";
import { App } from "./app.tsx";
import { startStream } from "./lib/stream.ts";
import { followUpgrades } from "./lib/upgrade.ts";
import "./style/base.css";
import "./style/shell.css";
import "./style/parts.css";
import "./style/nodes.css";
import "./style/pages.css";

const root = document.getElementById("app");
if (root !== null) {
  startStream();
  readSession();
  followUpgrades();
  render(<App />, root);
}
