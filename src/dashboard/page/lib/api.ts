/** What the pages ask the controller. Every request has a deadline; every failure says what to do about it. */
import type { AdminOutcome, AdminRequest, ApiError, Session } from "../../api.ts";

const deadlineMs = 20_000;

export class ApiFailure extends Error {
  override readonly name = "ApiFailure";
  readonly status: number;
  readonly hint: string;
  constructor(status: number, message: string, hint: string, cause?: unknown) {
    super(message, { cause });
    this.status = status;
    this.hint = hint;
  }
}

export function apiUrl(path: string): string {
  return new URL(`api/v1/${path}`, document.baseURI).href;
}

function isApiError(value: unknown): value is ApiError {
  return typeof value === "object" && value !== null && typeof (value as ApiError).error === "string";
}

async function call<T>(path: string, init: RequestInit, signal?: AbortSignal): Promise<T> {
  const limit = AbortSignal.timeout(deadlineMs);
  const both = signal === undefined ? limit : AbortSignal.any([signal, limit]);
  let response: Response;
  try {
    response = await fetch(apiUrl(path), { ...init, signal: both, credentials: "same-origin" });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiFailure(
      0,
      limit.aborted ? `No answer within ${deadlineMs / 1000} s` : "The controller does not answer",
      "Is sublet-controller running, and does this machine reach it?",
      error,
    );
  }
  const body: unknown = await response.json().catch(() => undefined);
  if (response.ok) return body as T;
  if (isApiError(body)) throw new ApiFailure(response.status, body.error, body.hint ?? "");
  throw new ApiFailure(response.status, `The controller answered ${response.status}`, "Its log says why.");
}

export function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return call<T>(path, { headers: { accept: "application/json" } }, signal);
}

function post<T>(path: string, body: unknown): Promise<T> {
  return call<T>(path, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json" },
    body: JSON.stringify(body),
  });
}

export type AdminVerb = "drain" | "resume" | "reclaim";

export const admin = (verb: AdminVerb, request: AdminRequest) => post<AdminOutcome[]>(verb, request);
export const whoami = (signal?: AbortSignal) => get<Session>("whoami", signal);
export const login = (credential: string) => post<Session>("login", { credential });
export const logout = () => post<unknown>("logout", {});
