/** Life-cycles as tables: a state and an event give the next state, or nothing, which is an error. */
import { SubletError } from "./errors.ts";

/** Per state, the events it knows and where they lead. A state without events is final. */
export type TransitionTable<State extends string, Event extends string> = Readonly<
  Record<State, Readonly<Partial<Record<Event, State>>>>
>;

/** The next state. @throws SubletError FAILED_PRECONDITION when the table has no such transition. */
export function transition<State extends string, Event extends string>(
  table: TransitionTable<State, Event>,
  state: State,
  event: Event,
): State {
  const next = table[state][event];
  if (next === undefined)
    throw new SubletError("FAILED_PRECONDITION", `${event} is not possible in state ${state}`);
  return next;
}

/** True when no event leads out of the state. */
export function isFinal<State extends string, Event extends string>(
  table: TransitionTable<State, Event>,
  state: State,
): boolean {
  return Object.keys(table[state]).length === 0;
}
