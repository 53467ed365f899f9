/** Runs before the first paint: the viewer's own choice of light or dark, else the system's word. */
import { effectiveTheme, storedChoice } from "./lib/theme-choice.ts";

document.documentElement.dataset.theme = effectiveTheme(storedChoice());
