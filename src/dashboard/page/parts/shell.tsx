/** What stands around every page: navigation, the cluster's name, the state of the stream, theme and login. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { LoginButton, LoginLink } from "../admin/login.tsx";
import { iso, span, time } from "../lib/format.ts";
import { href, useRoute } from "../lib/route.ts";
import { useStore } from "../lib/store.ts";
import { connect, streamState, summary } from "../lib/stream.ts";
import { chooseTheme, themeChoice } from "../lib/theme.ts";
import type { Choice } from "../lib/theme-choice.ts";
import { Segments } from "./basics.tsx";
import { Icon, type IconName } from "./icons.tsx";

const pages: readonly { readonly path: string; readonly name: string; readonly icon: IconName }[] = [
  { path: "", name: "Overview", icon: "overview" },
  { path: "nodes", name: "Nodes", icon: "nodes" },
  { path: "leases", name: "Leases", icon: "leases" },
  { path: "reclaims", name: "Reclaims", icon: "reclaims" },
  { path: "accounts", name: "Accounts", icon: "accounts" },
  { path: "about", name: "About", icon: "about" },
];

/** Now, while somebody has to see it pass. */
function useSeconds(running: boolean): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (!running) return;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [running]);
  return now;
}

/** Says that figures are old, and since when. A screen reader hears it once, not each second. */
function Stale() {
  const state = useStore(streamState);
  const now = useSeconds(state.kind === "stale");
  const stale = state.kind === "stale";
  return (
    <>
      <p class="hidden" role="status">
        {stale ? `Live figures stopped at ${time(state.sinceMs, Date.now())}.` : ""}
      </p>
      {stale && (
        <div class="stale">
          <span>
            <strong>Not live.</strong> These figures are of{" "}
            <time dateTime={iso(state.sinceMs)} title={iso(state.sinceMs)}>
              {time(state.sinceMs, now)}
            </time>
            , {span(Math.max(0, Math.floor((now - state.sinceMs) / 1000) * 1000))} old.
          </span>
          <span class="muted">
            {state.retryAtMs > now ? `Next try in ${Math.ceil((state.retryAtMs - now) / 1000)} s` : "Trying"}
          </span>
          <button type="button" class="button" onClick={connect}>
            Try now
          </button>
        </div>
      )}
    </>
  );
}

function Live() {
  const state = useStore(streamState);
  const shown = useStore(summary);
  const text = { connecting: "Connecting", live: "Live", paused: "Paused", stale: "Not live" }[state.kind];
  return (
    <p class={`live live-${state.kind}`} title={shown && `Figures of ${iso(shown.atMs)}`}>
      <span class="dot" aria-hidden="true" />
      {text}
    </p>
  );
}

const themes: readonly { value: Choice; name: string }[] = [
  { value: "system", name: "Auto" },
  { value: "light", name: "Light" },
  { value: "dark", name: "Dark" },
];

export function Shell(props: { children: ComponentChildren; title: string }) {
  const { path } = useRoute();
  const shown = useStore(summary);
  const choice = useStore(themeChoice);
  const main = useRef<HTMLElement>(null);
  const here = path[0] ?? "";
  const key = path.join("/");
  const before = useRef(key);
  useEffect(() => {
    document.title = `${props.title} · ${shown?.cluster ?? "Sublet"}`;
  }, [props.title, shown?.cluster]);
  useEffect(() => {
    // A new page begins at its top, and a screen reader goes there, too.
    if (before.current === key) return;
    before.current = key;
    scrollTo(0, 0);
    main.current?.focus({ preventScroll: true });
  }, [key]);
  return (
    <div class="shell">
      <button type="button" class="skip" onClick={() => main.current?.focus()}>
        Skip to content
      </button>
      <header class="side">
        <a class="brand" href={href([])}>
          <Icon name="logo" />
          <span>
            Sublet
            <small>{shown?.cluster ?? "\u00a0"}</small>
          </span>
        </a>
        <nav aria-label="Pages">
          <ul>
            {pages.map(({ path: to, name, icon }) => (
              <li key={to}>
                <a href={href(to === "" ? [] : [to])} aria-current={here === to ? "page" : undefined}>
                  <Icon name={icon} />
                  {name}
                </a>
              </li>
            ))}
          </ul>
        </nav>
        <div class="side-foot">
          <Live />
          <LoginButton />
          <Segments label="Colours" options={themes} value={choice} onChange={chooseTheme} />
          <p class="version muted">{shown ? `Sublet ${shown.version}` : "\u00a0"}</p>
        </div>
      </header>
      <main ref={main} tabIndex={-1} aria-label={props.title}>
        <Stale />
        <LoginLink />
        {props.children}
      </main>
    </div>
  );
}
