/** Small pieces that all pages are made of. */
import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";
import type { ApiFailure } from "../lib/api.ts";
import { iso, none, sentence, time } from "../lib/format.ts";
import { href, type Query } from "../lib/route.ts";

export function Panel(props: {
  title: string;
  children: ComponentChildren;
  tools?: ComponentChildren;
  class?: string;
  about?: string;
}) {
  const id = useId();
  return (
    <section class={`panel ${props.class ?? ""}`} aria-labelledby={id}>
      <header class="panel-head">
        <h2 id={id}>{props.title}</h2>
        {props.tools}
      </header>
      {props.about && <p class="panel-about">{props.about}</p>}
      {props.children}
    </section>
  );
}

export function Stat(props: { name: string; value: ComponentChildren; note?: ComponentChildren }) {
  return (
    <div class="stat">
      <dt>{props.name}</dt>
      <dd>
        <span class="stat-value">{props.value}</span>
        {props.note !== undefined && <span class="stat-note">{props.note}</span>}
      </dd>
    </div>
  );
}

export function Time(props: { ms: number | null | undefined }) {
  const { ms } = props;
  if (ms === null || ms === undefined || !Number.isFinite(ms) || ms <= 0) return <>{none}</>;
  return (
    <time dateTime={iso(ms)} title={iso(ms)}>
      {time(ms, Date.now())}
    </time>
  );
}

export function Link(props: {
  to: readonly string[];
  query?: Query;
  children: ComponentChildren;
  class?: string;
}) {
  return (
    <a href={href(props.to, props.query)} class={props.class}>
      {props.children}
    </a>
  );
}

export function Segments<T extends string>(props: {
  label: string;
  options: readonly { readonly value: T; readonly name: string }[];
  value: T | undefined;
  onChange: (value: T) => void;
}) {
  const name = useId();
  return (
    <fieldset class="segments">
      <legend class="hidden">{props.label}</legend>
      {props.options.map(({ value, name: text }) => (
        <label key={value}>
          <input
            type="radio"
            name={name}
            value={value}
            checked={value === props.value}
            onChange={() => props.onChange(value)}
          />
          <span>{text}</span>
        </label>
      ))}
    </fieldset>
  );
}

export function Swatch(props: { part: string }) {
  return <span class={`swatch part-${props.part}`} aria-hidden="true" />;
}

export function Skeleton(props: { rows?: number; label?: string }) {
  return (
    <div class="skeleton" role="status">
      <span class="hidden">{props.label ?? "Loading"}</span>
      {Array.from({ length: props.rows ?? 3 }, (_, index) => (
        <div key={index} aria-hidden="true" />
      ))}
    </div>
  );
}

export function Empty(props: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <p class="empty-title">{props.title}</p>
      {props.children && <p>{props.children}</p>}
    </div>
  );
}

export function Failure(props: { error: ApiFailure; retry?: () => void; what: string }) {
  return (
    <div class="failure" role="alert">
      <p>
        <strong>{props.what} cannot be shown.</strong> {sentence(props.error.message)}
      </p>
      {props.error.hint && <p class="muted">{sentence(props.error.hint)}</p>}
      {props.retry && (
        <button type="button" class="button" onClick={props.retry}>
          Try again
        </button>
      )}
    </div>
  );
}

/** What scrolls by itself is reached by Tab, so that keys scroll it, too. */
export function Scroll(props: { label: string; children: ComponentChildren; class?: string }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: WCAG 2.1.1 wants what scrolls to be reached by keys
    <section class={`scroll ${props.class ?? ""}`} aria-label={props.label} tabIndex={0}>
      {props.children}
    </section>
  );
}

/** Shows what is there: data even if old, else the failure, else that it is on its way. */
export function Content<T>(props: {
  of: { data: T | undefined; error: ApiFailure | undefined; reload: () => void };
  what: string;
  rows?: number;
  children: (data: T) => ComponentChildren;
}) {
  const { data, error, reload } = props.of;
  if (data === undefined)
    return error ? (
      <Failure error={error} retry={reload} what={props.what} />
    ) : (
      <Skeleton rows={props.rows ?? 4} label={`Loading: ${props.what}`} />
    );
  return (
    <>
      {error && <Failure error={error} retry={reload} what={`Newer: ${props.what}`} />}
      {props.children(data)}
    </>
  );
}
