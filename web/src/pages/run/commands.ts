import { address, baseUrl } from '#/api/client';

/** A text as one word of a POSIX shell. */
export function quoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** The request that triggers a job with `params`; `undefined` means the job's own. */
export function curlTrigger(job: number, params: unknown): string {
  const lines = [`curl -X POST ${quoted(address(`/jobs/${job}/runs`))}`, `-H "Authorization: Bearer $CARILLON_TOKEN"`];
  if (params !== undefined) {
    lines.push(`-H 'Content-Type: application/json'`, `-d ${quoted(JSON.stringify({ params }))}`);
  }
  return lines.join(' \\\n  ');
}

/** The same on Carillon's command line. */
export function cliTrigger(job: number, params: unknown): string {
  const given = params === undefined ? '' : ` --params ${quoted(JSON.stringify(params))}`;
  return `carillon job trigger ${job}${given} --console ${quoted(baseUrl())}`;
}

/** Prints the log of a run. */
export function cliLog(run: string): string {
  return `carillon run logs ${run} --console ${quoted(baseUrl())}`;
}
