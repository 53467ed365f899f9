/** A configuration: where it is looked for, by which variables and flags its keys can be set. */
import { existsSync } from "node:fs";
import type { z } from "zod";
import { keysOf } from "./keys.ts";
import {
  dropInsOf,
  type Environment,
  environmentLayer,
  type Flag,
  flagLayer,
  type Layer,
  readText,
  tomlLayer,
} from "./layers.ts";
import { checkLayers, type Loaded, valueAt } from "./load.ts";

export interface Kind<S extends z.ZodType> {
  readonly name: string;
  readonly schema: S;
  /** Files that are read when none is named, those that are there, the later over the earlier. */
  readonly defaultFiles: (environment: Environment) => readonly string[];
  readonly prefix: string;
  /** Variables with that prefix that are somebody else's; "known": all that are no key. */
  readonly foreign: "known" | readonly string[];
}

export interface Sources {
  /** Must be there. Without: the default files, as far as they are. */
  readonly file?: string | undefined;
  readonly environment?: Environment;
  readonly flags?: readonly Flag[];
}

export interface Read<T> extends Loaded<T> {
  /** The files that were read, in the order in which they apply. */
  readonly files: readonly string[];
  /** Named in complaints that belong to no line. */
  readonly subject: string;
}

/** A configuration, and where it came from. */
export interface Configuration<C, R> {
  readonly config: C;
  readonly read: Read<R>;
  /** What unset keys came to, by key. */
  readonly computed: Readonly<Record<string, unknown>>;
  /** Settings in files of their own that belong to these, by name. */
  readonly parts?: Readonly<Record<string, Configuration<unknown, unknown>>>;
}

/** How files are read: a reload reads all of them first, and only then looks at what they say. */
export type FileReader = (path: string) => string;

/** A file and its drop-ins. @throws SubletError FAILED_PRECONDITION, INVALID_ARGUMENT. */
export function fileLayers(path: string, read: FileReader = readText): Layer[] {
  return [
    tomlLayer(read(path), path),
    ...dropInsOf(path).map((each) => tomlLayer(read(each), each, "drop-in")),
  ];
}

/** The main files and the drop-ins of the first. @throws SubletError FAILED_PRECONDITION. */
function filesOf(kind: Kind<z.ZodType>, sources: Sources): { path: string; dropIn: boolean }[] {
  const environment = sources.environment ?? process.env;
  const mains = sources.file === undefined ? kind.defaultFiles(environment) : [sources.file];
  // A user's own file is one file; and HOME may be somebody else's, who may not be read.
  return mains.flatMap((path, index) => [
    ...(sources.file !== undefined || existsSync(path) ? [{ path, dropIn: false }] : []),
    ...(index === 0 ? dropInsOf(path) : []).map((each) => ({ path: each, dropIn: true })),
  ]);
}

interface Layers {
  readonly layers: readonly Layer[];
  readonly files: readonly string[];
}

function layersOf(kind: Kind<z.ZodType>, sources: Sources, read: FileReader): Layers {
  const environment = sources.environment ?? process.env;
  const keys = keysOf(kind.schema);
  const files = filesOf(kind, sources);
  const layers: Layer[] = files.map(({ path, dropIn }) =>
    tomlLayer(read(path), path, dropIn ? "drop-in" : "file"),
  );
  layers.push(environmentLayer(environment, kind.prefix, keys, kind.foreign));
  layers.push(flagLayer(sources.flags ?? [], keys));
  return { layers, files: files.map(({ path }) => path) };
}

/** @throws SubletError FAILED_PRECONDITION, INVALID_ARGUMENT; its message is for the sysadmin. */
export function readSources<S extends z.ZodType>(
  kind: Kind<S>,
  sources: Sources,
  read: FileReader = readText,
): Read<z.output<S>> {
  const { layers, files } = layersOf(kind, sources, read);
  const subject = files[0] ?? kind.defaultFiles(sources.environment ?? process.env)[0] ?? kind.name;
  return { ...checkLayers(kind.schema, layers, subject), files, subject };
}

/** Values of the keys that the schema marks so, of every layer, right or wrong. @throws SubletError: a file is no TOML. */
export function markedValues(
  kind: Kind<z.ZodType>,
  sources: Sources,
  mark: "secret" | "secretFile",
): readonly unknown[] {
  const { layers } = layersOf(kind, sources, readText);
  return keysOf(kind.schema)
    .filter((key) => key[mark])
    .flatMap(({ path }) => layers.map(({ values }) => valueAt(values, path)))
    .filter((value) => value !== undefined);
}
