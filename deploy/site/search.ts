/** What the search knows: one entry per section, made when the site is made and asked in the browser with the same options. */
import type { Options } from "minisearch";

export interface Entry {
  readonly id: number;
  readonly page: string;
  readonly href: string;
  readonly heading: string;
  readonly body: string;
}

export const options: Options<Entry> = {
  fields: ["heading", "page", "body"],
  storeFields: ["page", "href", "heading", "body"],
  // Names as people type them: sublet_reclaim_seconds is found by "reclaim", and whole.
  tokenize: (text) =>
    text.split(/[\s()[\]{}<>"'`,;:|/=*!?]+/).flatMap((word) => {
      const bare = word.replace(/^[.\-_]+|[.\-_]+$/g, "");
      const parts = bare.split(/[._-]/);
      return bare === "" ? [] : parts.length > 1 ? [bare, ...parts.filter((part) => part !== "")] : [bare];
    }),
  searchOptions: { boost: { heading: 4, page: 2 }, prefix: true, fuzzy: 0.15, combineWith: "AND" },
};
