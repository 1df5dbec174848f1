import type { components } from './schema';

export type ProblemBody = components['schemas']['Problem'] & Record<string, unknown>;

/** A refusal of the API (RFC 9457), or a failure to reach it: then `status` is 0 and `code` is `unreachable`. */
export class ProblemError extends Error {
  readonly status: number;
  readonly code: string;
  readonly fields: { field: string; message: string; column?: number | null }[];
  /** Seconds after which asking again makes sense, where the answer said so. */
  readonly retryAfter: number | undefined;
  /** Everything the answer said. */
  readonly body: Partial<ProblemBody>;

  constructor(status: number, body: Partial<ProblemBody>, cause?: unknown, retryAfter?: string | null) {
    super(body.detail ?? body.title ?? `HTTP ${status}`, { cause });
    this.name = 'ProblemError';
    this.status = status;
    this.code = body.code ?? (status === 0 ? 'unreachable' : 'unknown');
    this.fields = body.errors ?? [];
    this.body = body;
    this.retryAfter = retryAfter && Number.isFinite(Number(retryAfter)) ? Number(retryAfter) : undefined;
  }

  /** Whether asking again may help: the console, its store or a server was away. */
  get isPassing(): boolean {
    return this.status === 0 || this.status === 502 || this.status === 503 || this.status === 504;
  }
}

/** Any failure as a problem. */
export function asProblem(error: unknown): ProblemError {
  if (error instanceof ProblemError) return error;
  const detail = error instanceof Error ? error.message : String(error);
  return new ProblemError(0, { code: error instanceof TypeError ? 'unreachable' : 'page_error', detail }, error);
}
