/** What is shown, and the switch for it. The colours themselves are in the style sheet. */
import { createStore } from "./store.ts";
import { type Choice, effectiveTheme, storeChoice, storedChoice, systemDark } from "./theme-choice.ts";

export const themeChoice = createStore<Choice>(storedChoice());
/** Canvases follow it. */
export const theme = createStore(effectiveTheme(themeChoice.get()));

function show(): void {
  const shown = effectiveTheme(themeChoice.get());
  document.documentElement.dataset.theme = shown;
  theme.set(shown);
}
systemDark.addEventListener("change", show);

export function chooseTheme(choice: Choice): void {
  storeChoice(choice);
  themeChoice.set(choice);
  show();
}

/** The value of a custom property of the style sheet, for canvases. */
export function color(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
