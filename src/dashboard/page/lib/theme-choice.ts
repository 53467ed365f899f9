/** Light or dark: the system's word unless the viewer chose; the choice is kept in this browser. */
export type Choice = "system" | "light" | "dark";
const key = "sublet-theme";

export function storedChoice(): Choice {
  try {
    const stored = localStorage.getItem(key);
    return stored === "light" || stored === "dark" ? stored : "system";
  } catch {
    return "system";
  }
}

/** Storage may be forbidden: the choice then lasts as long as the page. */
export function storeChoice(choice: Choice): void {
  try {
    if (choice === "system") localStorage.removeItem(key);
    else localStorage.setItem(key, choice);
  } catch {
    return;
  }
}

export const systemDark = matchMedia("(prefers-color-scheme: dark)");

export function effectiveTheme(choice: Choice): "light" | "dark" {
  return choice === "system" ? (systemDark.matches ? "dark" : "light") : choice;
}
