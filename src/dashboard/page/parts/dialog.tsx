/** A modal dialog of the browser's own: it keeps the focus inside, Escape closes it, the focus goes back. */
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import type { ApiFailure } from "../lib/api.ts";
import { sentence } from "../lib/format.ts";

export function Dialog(props: { title: string; onClose: () => void; children: ComponentChildren }) {
  const element = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const dialog = element.current;
    const before = document.activeElement;
    dialog?.showModal();
    return () => {
      dialog?.close();
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    <dialog ref={element} aria-labelledby={id} onClose={props.onClose}>
      <h2 id={id}>{props.title}</h2>
      {props.children}
    </dialog>
  );
}

/** What a form in a dialog ends with: why it was refused, and the two ways on. */
export function FormEnd(props: {
  error: ApiFailure | undefined;
  submit: string;
  ready: boolean;
  onCancel: () => void;
}) {
  return (
    <>
      {props.error && (
        <p class="failure" role="alert">
          {sentence(props.error.message)} {sentence(props.error.hint)}
        </p>
      )}
      <div class="buttons">
        <button type="button" class="button" onClick={props.onCancel}>
          Cancel
        </button>
        <button type="submit" class="button main" disabled={!props.ready}>
          {props.submit}
        </button>
      </div>
    </>
  );
}
