import { type FormEvent, useState } from 'react';
import { asProblem, type ProblemError } from '#/api/problem';

/** The request of a form in a dialog that closes when it succeeds: whether it is under way, and what was wrong with it, field by field. */
export function useSubmission(send: () => Promise<void>) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<ProblemError>();

  async function submit(event: FormEvent) {
    event.preventDefault();
    setBusy(true);
    try {
      await send();
    } catch (error) {
      setProblem(asProblem(error));
      setBusy(false);
    }
  }

  return {
    busy,
    problem,
    fault: (field: string) => problem?.fields.find((entry) => entry.field === field)?.message,
    onSubmit: (event: FormEvent) => void submit(event),
  };
}
